;; Says why, and stops.
;; expect: I will not
(module
  (import "thalweg" "panic" (func $panic (param i32 i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "I will not")
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (call $panic (i32.const 256) (i32.const 10))
    unreachable))
