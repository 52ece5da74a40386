;; Speaks a version of the ABI that there is not.
;; expect: built for `thalweg_abi_v2`
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v2"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
