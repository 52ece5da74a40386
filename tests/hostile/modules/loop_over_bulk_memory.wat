;; Fills and copies its memory for ever, in the host's own routines.
;; expect: ran for more than
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (memory.fill (i32.const 65536) (i32.const 1) (i32.const 400000))
      (memory.copy (i32.const 0) (i32.const 65536) (i32.const 400000))
      (br $again))
    unreachable))
