;; Asks for 4 GiB in one go.
;; expect: bytes of memory allowed
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (drop (memory.grow (i32.const 65528)))
    unreachable))
