;; Grows its table for ever.
;; expect: table.grow
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0)
  (table 1 funcref)
  (func (drop (table.grow (ref.null func) (i32.const 9)))))
