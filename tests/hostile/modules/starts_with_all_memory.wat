;; Would start with almost 4 GiB.
;; expect: the module's memory starts with
(module
  (memory (export "memory") 65535)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
