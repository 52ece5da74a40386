;; Calls the host from every depth, so that one of its functions meets the end of the stack.
;; expect: stack
(module
  (import "thalweg" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $again (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (call $log (i32.const 4) (i32.const 0) (i32.const 64))
    (i32.add (call $again (local.get $input) (local.get $bytes)) (i32.const 1))))
