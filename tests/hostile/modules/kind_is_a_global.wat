;; Has a filter that is no function.
;; expect: must be a function
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (global (export "thalweg_filter") i32 (i32.const 0)))
