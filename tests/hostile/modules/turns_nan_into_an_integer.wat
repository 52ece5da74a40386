;; Makes an integer of what is no number.
;; expect: conversion
(module
  (memory (export "memory") 8)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param i32) (result i32)
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (i32.trunc_f64_s (f64.div (f64.const 0) (f64.const 0)))))
