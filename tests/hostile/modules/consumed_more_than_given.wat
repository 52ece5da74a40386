;; Says that it dealt with more records than it was given.
;; expect: it consumed 4000000 of
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (i32.store offset=0 (i32.const 0) (i32.const 0))
    (i32.store offset=4 (i32.const 0) (i32.const 4000000))
    (i32.store offset=8 (i32.const 0) (i32.const 256))
    (i32.store offset=12 (i32.const 0) (i32.const 1))
    (i32.store offset=16 (i32.const 0) (i32.const 0))
    i32.const 0))
