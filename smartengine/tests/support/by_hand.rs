//! Guests written by hand, as text or as the answer that they give.

use std::fmt::Write as _;

use thalweg_record::Codec;
use thalweg_smartmodule_abi::Answer;

use super::{batch, chain_of, process, tight};

/// The input goes to page 1 and up; the answer stands at 0, its output at 256.
pub(crate) const ALLOC: &str =
    r#"(func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)"#;
pub(crate) const HEAD: &str = r#"(memory (export "memory") 8) (func (export "thalweg_abi_v1"))"#;
pub(crate) const KEEPS_NOTHING: &str =
    r#"(func (export "thalweg_map") (param i32 i32) (result i32) i32.const 0)"#;

pub(crate) fn wasm(body: &str) -> Vec<u8> {
    let text = format!("(module {body})");
    wasmer::wat2wasm(text.as_bytes()).unwrap().into_owned()
}

/// A module whose kind export runs `code`, which leaves the answer's address.
pub(crate) fn guest(kind: &str, code: &str) -> Vec<u8> {
    wasm(&format!(
        r#"{HEAD} {ALLOC} (func $call (export "thalweg_{kind}") (param i32 i32) (result i32) {code})"#
    ))
}

/// A module that answers the same whatever it is given.
pub(crate) fn answering(kind: &str, answer: Answer, output: &[u8]) -> Vec<u8> {
    let text = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "\\{byte:02x}").unwrap();
            text
        })
    };
    wasm(&format!(
        r#"{HEAD} {ALLOC}
        (data (i32.const 0) "{}") (data (i32.const 256) "{}")
        (func (export "thalweg_{kind}") (param i32 i32) (result i32) i32.const 0)"#,
        text(&answer.encode()),
        text(output),
    ))
}

/// Checks that a guest which does nothing wrong still runs.
pub(crate) fn the_engine_goes_on() {
    let keep_all = Answer {
        consumed_count: 3,
        output_address: 256,
        output_bytes: 1,
        output_count: 3,
        ..Answer::default()
    };
    let good = answering("filter", keep_all, &[0b111]);
    let mut chain = chain_of(&good, tight()).unwrap();
    let output = process(&mut chain, &batch(0, Codec::None, &["a", "b", "c"])).unwrap();
    assert_eq!(output.record_count, 3);
}
