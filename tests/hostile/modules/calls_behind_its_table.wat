;; Calls what lies behind its table.
;; expect: out of bounds
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (type $kind (func (param i32 i32) (result i32)))
  (table 2 funcref)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (call_indirect (type $kind) (local.get $input) (local.get $bytes) (i32.const -1))))
