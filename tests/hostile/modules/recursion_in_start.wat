;; Calls itself until the stack ends as it is instantiated.
;; expect: stack
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $again (result i32) (i32.add (call $again) (i32.const 1)))
  (func $start (drop (call $again)))
  (start $start)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
