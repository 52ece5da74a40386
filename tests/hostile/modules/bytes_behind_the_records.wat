;; Gives one record more than it counts.
;; expect: behind its 1 records
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "\0c\00\00\00\01\01\00\0c\00\00\00\01\01\00")
  (func (export "thalweg_array_map") (param $input i32) (param $bytes i32) (result i32)
    (i32.store offset=0 (i32.const 0) (i32.const 0))
    (i32.store offset=4 (i32.const 0) (i32.load offset=16 (local.get $input)))
    (i32.store offset=8 (i32.const 0) (i32.const 256))
    (i32.store offset=12 (i32.const 0) (i32.const 14))
    (i32.store offset=16 (i32.const 0) (i32.const 1))
    i32.const 0))
