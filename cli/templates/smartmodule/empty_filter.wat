;; A filter that keeps everything without looking: what every module pays.
(module
  (memory (export "memory") 2)
  (func (export "thalweg_abi_v1"))
  ;; One buffer at 64 KiB, behind the answer and the bitmap; the memory grows to hold it.
  (func (export "thalweg_alloc") (param $bytes i32) (result i32)
    (local $pages i32)
    (local.set $pages
      (i32.sub
        (i32.add (i32.const 2) (i32.shr_u (local.get $bytes) (i32.const 16)))
        (memory.size)))
    (if (i32.gt_s (local.get $pages) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $pages)) (i32.const -1))
          (then (return (i32.const 0))))))
    (i32.const 0x10000))
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (local $count i32) (local $whole i32) (local $rest i32)
    (local.set $count (i32.load offset=16 (local.get $input)))
    (local.set $whole (i32.shr_u (local.get $count) (i32.const 3)))
    (local.set $rest (i32.and (local.get $count) (i32.const 7)))
    (memory.fill (i32.const 0x100) (i32.const 0xff) (local.get $whole))
    (i32.store8 offset=0x100 (local.get $whole)
      (i32.sub (i32.shl (i32.const 1) (local.get $rest)) (i32.const 1)))
    (i32.store offset=4 (i32.const 0) (local.get $count))
    (i32.store offset=8 (i32.const 0) (i32.const 0x100))
    (i32.store offset=12 (i32.const 0)
      (i32.add (local.get $whole) (i32.ne (local.get $rest) (i32.const 0))))
    (i32.store offset=16 (i32.const 0) (local.get $count))
    (i32.const 0)))
