;; Fills fifty megabytes over and over, which is the host's work: its own code hardly ever runs.
;; expect: ran for more than
(module
  (memory (export "memory") 800)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (loop $again
      (memory.fill (i32.const 131072) (i32.const 1) (i32.const 52000000))
      (br $again))
    unreachable))
