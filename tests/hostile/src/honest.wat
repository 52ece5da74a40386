;; A filter that keeps every record: what a neighbour of the hostile ones runs, and what the
;; oversized ones would be otherwise.
(module
  (memory (export "memory") 1)
  (global $buffer (mut i32) (i32.const 0))
  (func (export "thalweg_abi_v1"))
  ;; The buffer lies at 64 KiB and reaches as far as the memory does, the bitmap behind it: a record
  ;; has seven bytes at the least, so that an eighth of the input holds a bit for each.
  (func (export "thalweg_alloc") (param $bytes i32) (result i32)
    (local $end i32)
    (local.set $end (i32.add (i32.const 65552)
      (i32.add (local.get $bytes) (i32.shr_u (local.get $bytes) (i32.const 3)))))
    (global.set $buffer (i32.add (i32.const 65536) (local.get $bytes)))
    (if (i32.gt_u (local.get $end) (i32.mul (memory.size) (i32.const 65536)))
      (then (if (i32.eq (i32.const -1) (memory.grow (i32.sub
          (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16))
          (memory.size))))
        (then (return (i32.const 0))))))
    i32.const 65536)
  (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
    (local $count i32) (local $whole i32)
    (local.set $count (i32.load offset=16 (local.get $input)))
    (local.set $whole (i32.shr_u (local.get $count) (i32.const 3)))
    (memory.fill (global.get $buffer) (i32.const 255) (local.get $whole))
    ;; The bits of the last byte that stand for records.
    (i32.store8 (i32.add (global.get $buffer) (local.get $whole))
      (i32.sub (i32.shl (i32.const 1) (i32.and (local.get $count) (i32.const 7))) (i32.const 1)))
    (i32.store offset=4 (i32.const 0) (local.get $count))
    (i32.store offset=8 (i32.const 0) (global.get $buffer))
    (i32.store offset=12 (i32.const 0)
      (i32.shr_u (i32.add (local.get $count) (i32.const 7)) (i32.const 3)))
    (i32.store offset=16 (i32.const 0) (local.get $count))
    i32.const 0))
