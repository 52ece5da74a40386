;; Loops for ever as it is instantiated.
;; expect: ran for more than
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func $start (loop $again (br $again)))
  (start $start)
  (func (export "thalweg_map") (param $input i32) (param $bytes i32) (result i32)
    i32.const 0))
