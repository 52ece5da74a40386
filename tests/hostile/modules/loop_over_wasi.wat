;; Asks for the time and for random bytes for ever, and writes them down.
;; expect: ran for more than
(module
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $time (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (drop (call $random (i32.const 0) (i32.const 65536)))
      (drop (call $time (i32.const 0) (i64.const 0) (i32.const 0)))
      ;; As many buffers as can be said, wherever the random bytes say that they are.
      (drop (call $write (i32.const 1) (i32.const 0) (i32.const -1) (i32.const 0)))
      (br $again))
    unreachable))
