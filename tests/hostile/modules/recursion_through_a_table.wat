;; Calls itself by way of its table until the stack ends.
;; expect: stack
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (type $kind (func (param i32 i32) (result i32)))
  (table 1 funcref)
  (elem (i32.const 0) $again)
  (func $again (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (i32.add (call_indirect (type $kind) (local.get $input) (local.get $bytes) (i32.const 0)) (i32.const 1))))
