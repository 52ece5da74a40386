;; Takes no parameters and no part.
;; expect: refused to start: not today
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "not today")
  (func (export "thalweg_init") (param $input i32) (param $bytes i32) (result i32)
    (i32.store offset=0 (i32.const 0) (i32.const 2))
    (i32.store offset=4 (i32.const 0) (i32.const 0))
    (i32.store offset=8 (i32.const 0) (i32.const 256))
    (i32.store offset=12 (i32.const 0) (i32.const 0))
    (i32.store offset=16 (i32.const 0) (i32.const 0))
    (i32.store offset=20 (i32.const 0) (i32.const 256))
    (i32.store offset=24 (i32.const 0) (i32.const 9))
    i32.const 0)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
