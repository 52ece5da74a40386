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
