;; Calls the host at every sixteenth depth, so that it is asked for where next to nothing is left of
;; the stack. (At every one it would need longer than a call may: each looks for room first.)
;; expect: stack
(module
  (import "thalweg" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $again (export "thalweg_filter") (param $input i32) (param $depth i32) (result i32)
    (if (i32.eqz (i32.and (local.get $depth) (i32.const 15)))
      (then (call $log (i32.const 4) (i32.const 0) (i32.const 64))))
    (i32.add
      (call $again (local.get $input) (i32.add (local.get $depth) (i32.const 1)))
      (i32.const 1))))
