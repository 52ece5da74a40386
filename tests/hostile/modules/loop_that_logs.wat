;; Logs for ever, mostly from within the host, where a deadline must not strike.
;; expect: ran for more than
(module
  (import "thalweg" "log" (func $log (param i32 i32 i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (call $log (i32.const 1) (i32.const 0) (i32.const -1))
      (call $log (i32.const 4) (i32.const 0) (i32.const 4096))
      (br $again))
    unreachable))
