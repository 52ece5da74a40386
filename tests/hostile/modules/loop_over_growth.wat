;; Grows its memory by nothing for ever, which takes the host's word each time.
;; expect: ran for more than
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (drop (memory.grow (i32.const 0)))
      (br $again))
    unreachable))
