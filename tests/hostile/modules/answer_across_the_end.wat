;; Answers where only the first half of an answer fits.
;; expect: reaches out of its memory
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    i32.const 524272))
