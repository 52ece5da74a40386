;; Wants the host's memory.
;; expect: `env.memory`, which is not offered
(module
  (import "env" "memory" (memory 1))
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
