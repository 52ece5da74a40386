;; Has a symbol left to the linker.
;; expect: `env.open`, which is not offered
(module
  (import "env" "open" (func (param i32 i32) (result i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
