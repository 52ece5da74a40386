;; Has functions that do not fit its table.
;; expect: out of bounds
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (table 1 funcref)
  (func $f)
  (elem (i32.const 1) $f)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
