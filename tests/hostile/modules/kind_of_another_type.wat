;; Has a filter of another type.
;; expect: must be a function (i32, i32) -> (i32)
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param i64) (result i64)
    i64.const 0))
