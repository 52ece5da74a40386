;; Fails with a message of bytes that are no UTF-8 and would draw on a terminal.
;; expect: : ���[2J�]0;owned��
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (data (i32.const 256) "\ff\fe\1b[2J\1b]0;owned\07\c3")
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (i32.store offset=0 (i32.const 0) (i32.const 1))
    (i32.store offset=4 (i32.const 0) (i32.const 0))
    (i32.store offset=8 (i32.const 0) (i32.const 256))
    (i32.store offset=12 (i32.const 0) (i32.const 0))
    (i32.store offset=16 (i32.const 0) (i32.const 0))
    (i32.store offset=20 (i32.const 0) (i32.const 256))
    (i32.store offset=24 (i32.const 0) (i32.const 18))
    i32.const 0))
