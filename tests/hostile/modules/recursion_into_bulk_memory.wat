;; Fills memory at every depth.
;; expect: stack
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $again (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (memory.fill (i32.const 65536) (i32.const 1) (i32.const 1))
    (i32.add (call $again (local.get $input) (local.get $bytes)) (i32.const 1))))
