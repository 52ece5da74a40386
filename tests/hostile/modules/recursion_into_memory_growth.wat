;; Grows its memory at every depth, so that the host's own routine meets the end of the stack.
;; expect: stack
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $again (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (drop (memory.grow (i32.const 0)))
    (i32.add (call $again (local.get $input) (local.get $bytes)) (i32.const 1))))
