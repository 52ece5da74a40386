;; Says for ever that it is about to stop.
;; expect: ran for more than
(module
  (import "thalweg" "panic" (func $panic (param i32 i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (call $panic (i32.const 0) (i32.const 4096))
      (br $again))
    unreachable))
