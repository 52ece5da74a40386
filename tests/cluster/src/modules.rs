//! Small SmartModules, written by hand so that a test knows every byte of them.

/// A filter that lets nothing pass.
#[must_use]
pub fn nothing() -> Vec<u8> {
    filter(0, "(i32.const 0)")
}

/// A filter that lets everything pass.
#[must_use]
pub fn everything() -> Vec<u8> {
    filter(0xff, "(local.get $records)")
}

/// A filter that fails on its first record and says `message`.
#[must_use]
pub fn failing(message: &str) -> Vec<u8> {
    let length = message.len();
    let text = format!(
        r#"(module
          (memory (export "memory") 8)
          (data (i32.const 2048) "{message}")
          (func (export "thalweg_abi_v1"))
          (func (export "thalweg_alloc") (param i32) (result i32) (i32.const 65536))
          (func (export "thalweg_filter") (param i32 i32) (result i32)
            (i32.store (i32.const 1024) (i32.const 1))
            (i32.store (i32.const 1044) (i32.const 2048))
            (i32.store (i32.const 1048) (i32.const {length}))
            (i32.const 1024)))"#
    );
    wat::parse_str(text).expect("it is a module")
}

/// A filter that lets every other record of a batch pass, the first included.
#[must_use]
pub fn even_offsets() -> Vec<u8> {
    let half = "(i32.div_u (i32.add (local.get $records) (i32.const 1)) (i32.const 2))";
    filter(0x55, half)
}

/// An aggregate that counts records: each becomes one with the same time, no key, and the count in eight digits.
#[must_use]
pub fn counting() -> Vec<u8> {
    wat::parse_str(COUNTING).expect("it is a module")
}

/// The answer stands at 1,024, the count at 2,048, the output from 2 MiB on and the input below it. A record is read no
/// further than its offset delta: what lies between its attributes and its key is copied.
const COUNTING: &str = r#"(module
  (memory (export "memory") 64)
  (func (export "thalweg_abi_v1"))
  (func (export "thalweg_alloc") (param $bytes i32) (result i32)
    (select (i32.const 65536) (i32.const 0)
      (i32.lt_u (local.get $bytes) (i32.const 2031616))))

  (func $past_varint (param $at i32) (result i32)
    (loop $more
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.ge_u (i32.load8_u offset=0 (i32.sub (local.get $at) (i32.const 1))) (i32.const 128))))
    (local.get $at))

  (func $varint (param $at i32) (result i32)
    (local $value i32) (local $shift i32) (local $byte i32)
    (loop $more
      (local.set $byte (i32.load8_u (local.get $at)))
      (local.set $value (i32.or (local.get $value)
        (i32.shl (i32.and (local.get $byte) (i32.const 127)) (local.get $shift))))
      (local.set $shift (i32.add (local.get $shift) (i32.const 7)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.ge_u (local.get $byte) (i32.const 128))))
    (i32.shr_u (local.get $value) (i32.const 1)))

  (func $count_one (local $at i32)
    (local.set $at (i32.const 2055))
    (loop $carry
      (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 57))
        (then
          (i32.store8 (local.get $at) (i32.const 48))
          (local.set $at (i32.sub (local.get $at) (i32.const 1)))
          (br $carry))))
    (i32.store8 (local.get $at) (i32.add (i32.load8_u (local.get $at)) (i32.const 1))))

  (func (export "thalweg_aggregate") (param $input i32) (param i32) (result i32)
    (local $record i32) (local $from i32) (local $to i32) (local $copied i32)
    (local $out i32) (local $done i32)
    (if (i32.load offset=36 (local.get $input))
      (then (memory.copy (i32.const 2048)
        (i32.add (local.get $input) (i32.load offset=32 (local.get $input))) (i32.const 8)))
      (else (memory.fill (i32.const 2048) (i32.const 48) (i32.const 8))))
    (local.set $record (i32.add (local.get $input) (i32.load offset=24 (local.get $input))))
    (local.set $out (i32.const 2097152))
    (loop $next
      (local.set $from (i32.add (call $past_varint (local.get $record)) (i32.const 1)))
      (local.set $to (call $past_varint (call $past_varint (local.get $from))))
      (local.set $copied (i32.sub (local.get $to) (local.get $from)))
      (local.set $record (i32.add (call $past_varint (local.get $record)) (call $varint (local.get $record))))
      (call $count_one)
      ;; The length, twice as large as it is, and no attributes.
      (i32.store16 (local.get $out)
        (i32.shl (i32.add (local.get $copied) (i32.const 12)) (i32.const 1)))
      (memory.copy (i32.add (local.get $out) (i32.const 2)) (local.get $from) (local.get $copied))
      (local.set $out (i32.add (local.get $out) (i32.add (local.get $copied) (i32.const 2))))
      ;; A null key, and a value of eight bytes.
      (i32.store16 (local.get $out) (i32.const 0x1001))
      (i64.store offset=2 (local.get $out) (i64.load (i32.const 2048)))
      ;; No headers.
      (i32.store8 offset=10 (local.get $out) (i32.const 0))
      (local.set $out (i32.add (local.get $out) (i32.const 11)))
      (local.set $done (i32.add (local.get $done) (i32.const 1)))
      (br_if $next (i32.and
        (i32.lt_u (local.get $done) (i32.load offset=16 (local.get $input)))
        (i32.lt_u (local.get $out) (i32.const 4000000)))))
    (i32.store (i32.const 1028) (local.get $done))
    (i32.store (i32.const 1032) (i32.const 2097152))
    (i32.store (i32.const 1036) (i32.sub (local.get $out) (i32.const 2097152)))
    (i32.store (i32.const 1040) (local.get $done))
    (i32.const 1024)))"#;

/// A filter whose bitmap repeats `pattern`, and which says that it kept as many as `kept` comes to.
fn filter(pattern: u8, kept: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (memory (export "memory") 8)
          (func (export "thalweg_abi_v1"))
          (func (export "thalweg_alloc") (param i32) (result i32) (i32.const 65536))
          (func (export "thalweg_filter") (param $input i32) (param i32) (result i32)
            (local $records i32) (local $bytes i32) (local $spare i32)
            (local.set $records (i32.load offset=16 (local.get $input)))
            (local.set $bytes
              (i32.div_u (i32.add (local.get $records) (i32.const 7)) (i32.const 8)))
            (memory.fill (i32.const 4096) (i32.const {pattern}) (local.get $bytes))
            (local.set $spare (i32.rem_u (local.get $records) (i32.const 8)))
            (if (local.get $spare) (then
              (i32.store8 offset=4095 (local.get $bytes)
                (i32.and (i32.load8_u offset=4095 (local.get $bytes))
                  (i32.sub (i32.shl (i32.const 1) (local.get $spare)) (i32.const 1))))))
            (i32.store (i32.const 1028) (local.get $records))
            (i32.store (i32.const 1032) (i32.const 4096))
            (i32.store (i32.const 1036) (local.get $bytes))
            (i32.store (i32.const 1040) {kept})
            (i32.const 1024)))"#
    );
    wat::parse_str(text).expect("it is a module")
}

/// A filter with a custom section that makes it `size_bytes` large.
#[must_use]
pub fn padded(size_bytes: usize) -> Vec<u8> {
    let mut wasm = nothing();
    // Section 0, five bytes of length, a name of one character, and the padding.
    let content_bytes = size_bytes - wasm.len() - 6;
    wasm.push(0);
    let mut rest = content_bytes;
    for position in 0..5 {
        let more = if position < 4 { 0x80 } else { 0 };
        wasm.push(u8::try_from(rest & 0x7f).expect("seven bits") | more);
        rest >>= 7;
    }
    wasm.extend_from_slice(b"\x01p");
    wasm.resize(size_bytes, 0);
    wasm
}
