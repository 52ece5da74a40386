;; Writes why to its standard error, as Go does, and ends its process.
;; expect: exited with code 2: panic: gone
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "panic: gone\n")
  ;; One buffer, of the text at 256.
  (data (i32.const 128) "\00\01\00\00\0c\00\00\00")
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (drop (call $write (i32.const 2) (i32.const 128) (i32.const 1) (i32.const 136)))
    (call $exit (i32.const 2))
    unreachable))
