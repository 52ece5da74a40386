;; Gives a record that counts more headers than it has.
;; expect: does not parse
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "\0c\00\00\00\01\01\7e")
  (func (export "thalweg_array_map") (param $input i32) (param $bytes i32) (result i32)
    (i32.store offset=0 (i32.const 0) (i32.const 0))
    (i32.store offset=4 (i32.const 0) (i32.load offset=16 (local.get $input)))
    (i32.store offset=8 (i32.const 0) (i32.const 256))
    (i32.store offset=12 (i32.const 0) (i32.const 7))
    (i32.store offset=16 (i32.const 0) (i32.const 1))
    i32.const 0))
