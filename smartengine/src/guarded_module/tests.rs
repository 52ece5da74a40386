use wasmparser::Validator;

use super::*;

fn guarded_text(text: &str) -> Vec<u8> {
    let wasm = wasmer::wat2wasm(text.as_bytes()).unwrap();
    guarded(&wasm).unwrap()
}

#[test]
fn whatever_a_module_has_it_stays_valid() {
    for text in [
        "(module)",
        "(module (func (result i32 f64) unreachable))",
        "(module (memory 1) (func (param v128 i32) (local f32)
           (memory.copy (i32.const 0) (local.get 1) (i32.const 9))
           (memory.fill (i32.const 0) (i32.const 1) (i32.const 9))
           (drop (memory.grow (i32.const 1)))))",
        r#"(module (import "a" "b" (func $b (param i64) (result i32))) (import "a" "c" (func $c))
           (table 2 funcref) (elem (i32.const 0) $b $f) (start $c) (export "b" (func $b))
           (func $f (drop (call $b (i64.const 1))) (drop (ref.func $b))
             (drop (call_indirect (param i64) (result i32) (i64.const 1) (i32.const 0)))
             (loop (block (br_table 0 1 2 (i32.const 0))) unreachable)))"#,
    ] {
        let wasm = guarded_text(text);
        Validator::new()
            .validate_all(&wasm)
            .unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn every_way_to_an_import_leads_through_its_stand_in() {
    let wasm = guarded_text(
        r#"(module (import "a" "b" (func $b)) (table 1 funcref) (elem (i32.const 0) $b)
           (export "b" (func $b)) (func (call $b)))"#,
    );
    let seen = calls_and_exports(&wasm);

    // The import, the function of the module, and the stand-in of the import.
    assert_eq!(seen.exported, [2]);
    assert_eq!(seen.called, [2, 0]);
}

/// What is exported, and what the first two functions that the module defines call.
struct Seen {
    exported: Vec<u32>,
    called: Vec<u32>,
}

fn calls_and_exports(wasm: &[u8]) -> Seen {
    let mut seen = Seen {
        exported: Vec::new(),
        called: Vec::new(),
    };
    for payload in Parser::new(0).parse_all(wasm) {
        match payload.unwrap() {
            Payload::ExportSection(section) => {
                let exports = section.into_iter().map(|export| export.unwrap().index);
                seen.exported.extend(exports);
            }
            Payload::CodeSectionEntry(body) => {
                let operators = body.get_operators_reader().unwrap();
                let calls = operators.into_iter().filter_map(|operator| match operator {
                    Ok(Operator::Call { function_index }) => Some(function_index),
                    _ => None,
                });
                // The last call is what a function is for: room is seen to before.
                seen.called.extend(calls.last());
            }
            _ => {}
        }
    }
    seen.called.truncate(2);
    seen
}
