;; Answers to its parameters at no address.
;; expect: its answer at 4294967280 reaches out
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_init") (param $input i32) (param $bytes i32) (result i32)
    i32.const -16)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
