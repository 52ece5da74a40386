;; Is a module, but no SmartModule.
;; expect: no SmartModule kind exported
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536))
