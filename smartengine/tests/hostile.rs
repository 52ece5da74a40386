//! Guests that loop, grab, lie and crash: each gets a clear error, and the engine goes on.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::fmt::Write as _;
use std::sync::Arc;

use thalweg_record::Codec;
use thalweg_smartengine::{ChainError, ChainOptions, EngineOptions, LoadError, SmartEngine, Step};
use thalweg_smartmodule_abi::{Answer, STATUS_OK, STATUS_RECORD_FAILED, write_record};

use support::by_hand::{ALLOC, HEAD, KEEPS_NOTHING, answering, guest, the_engine_goes_on, wasm};
use support::{batch, chain_of, engine, process, records, tight};

/// What a module makes of three records.
fn outcome(wasm: &[u8]) -> Result<Vec<(i64, String)>, ChainError> {
    let mut chain = chain_of(wasm, tight())?;
    let three = batch(100, Codec::None, &["a", "b", "c"]);
    let outcome = process(&mut chain, &three).map(|output| records(&output));
    if outcome.is_err() {
        assert_eq!(process(&mut chain, &three), Err(ChainError::Spent));
    }
    the_engine_goes_on();
    outcome
}

fn garbage(wasm: &[u8]) -> String {
    match outcome(wasm) {
        Err(ChainError::BadOutput { reason, .. }) => reason,
        other => panic!("expected garbage, got {other:?}"),
    }
}

fn refused(body: &str) -> LoadError {
    let error = engine().load(&wasm(body)).unwrap_err();
    the_engine_goes_on();
    error
}

const ANSWER: Answer = Answer {
    status: STATUS_OK,
    consumed_count: 3,
    output_address: 256,
    output_bytes: 1,
    output_count: 3,
    message_address: 0,
    message_bytes: 0,
};

#[test]
fn an_endless_loop_in_a_call_ends_at_its_deadline() {
    let ended = outcome(&guest("filter", "(loop br 0) unreachable"));

    assert_eq!(
        ended,
        Err(ChainError::DeadlineExceeded {
            step: "guest".to_owned(),
            deadline_ms: 200
        })
    );
}

#[test]
fn endless_loops_before_the_first_call_end_at_their_deadline() {
    let looping = "(loop br 0)";
    let bodies = [
        format!(
            r#"(func (export "thalweg_init") (param i32 i32) (result i32) {looping} unreachable)"#
        ),
        format!("(func $start {looping}) (start $start)"),
        format!(r#"(func (export "_initialize") {looping})"#),
    ];
    for body in bodies {
        let module = wasm(&format!("{HEAD} {ALLOC} {KEEPS_NOTHING} {body}"));
        assert!(
            matches!(
                chain_of(&module, tight()),
                Err(ChainError::DeadlineExceeded { .. })
            ),
            "{body}"
        );
    }
}

#[test]
fn a_loop_over_memory_growth_and_bulk_copies_ends_at_its_deadline() {
    let copying = guest(
        "filter",
        "(loop (memory.fill (i32.const 65536) (i32.const 1) (i32.const 400000))
               (memory.copy (i32.const 0) (i32.const 65536) (i32.const 400000))
               (drop (memory.grow (i32.const 0))) br 0) unreachable",
    );
    assert!(matches!(
        outcome(&copying),
        Err(ChainError::DeadlineExceeded { .. })
    ));
}

#[test]
fn many_loops_at_once_all_end() {
    let looping = guest("filter", "(loop br 0) unreachable");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert!(matches!(
                    outcome(&looping),
                    Err(ChainError::DeadlineExceeded { .. })
                ));
            });
        }
    });
}

#[test]
fn a_guest_that_asks_for_all_memory_is_refused_it() {
    let bomb = guest(
        "filter",
        "(loop (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable)) br 0) unreachable",
    );
    assert_eq!(
        outcome(&bomb),
        Err(ChainError::MemoryExceeded {
            step: "guest".to_owned(),
            limit_bytes: 16 << 20
        })
    );
}

#[test]
fn a_memory_that_starts_too_large_is_refused() {
    let body = |pages: u32| {
        format!(
            r#"(memory (export "memory") {pages}) (func (export "thalweg_abi_v1")) {ALLOC} {KEEPS_NOTHING}"#
        )
    };
    assert!(matches!(
        refused(&body(60_000)),
        LoadError::MemoryTooLarge { .. }
    ));
    // Within the engine's bound, beyond the chain's.
    assert!(matches!(
        chain_of(&wasm(&body(512)), tight()),
        Err(ChainError::MemoryExceeded { .. })
    ));
}

#[test]
fn answers_outside_memory_are_garbage() {
    for address in ["-1", "-16", "524288", "524257"] {
        let reason = garbage(&guest("filter", &format!("i32.const {address}")));
        assert!(reason.contains("out of its memory"), "{reason}");
    }
}

#[test]
fn outputs_and_messages_outside_memory_are_garbage() {
    let output = |address, bytes| Answer {
        output_address: address,
        output_bytes: bytes,
        ..ANSWER
    };
    for (address, bytes) in [
        (524_288, 1),
        (u32::MAX, 1),
        (u32::MAX, 1 << 20),
        (524_000, 300),
    ] {
        let reason = garbage(&answering("map", output(address, bytes), &[]));
        assert!(reason.contains("out of its memory"), "{reason}");
    }
    let message = Answer {
        status: STATUS_RECORD_FAILED,
        consumed_count: 1,
        message_address: u32::MAX,
        message_bytes: u32::MAX,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", message, &[1])).contains("message"));
}

#[test]
fn an_output_of_four_gigabytes_exceeds_its_bound() {
    for bytes in [u32::MAX, 1 << 31, (1 << 20) + 1] {
        let answer = Answer {
            output_bytes: bytes,
            ..ANSWER
        };
        assert_eq!(
            outcome(&answering("array_map", answer, &[])),
            Err(ChainError::OutputExceeded {
                step: "guest".to_owned(),
                limit_bytes: 1 << 20
            })
        );
    }
}

#[test]
fn counts_that_lie_are_garbage() {
    let consumed = |consumed_count| Answer {
        consumed_count,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", consumed(4), &[7])).contains("consumed 4 of 3"));
    assert!(garbage(&answering("filter", consumed(u32::MAX), &[7])).contains("consumed"));
    assert!(garbage(&answering("filter", consumed(2), &[3])).contains("without a failure"));
    assert!(garbage(&answering("map", consumed(0), &[])).contains("no record"));

    let gives = |output_count| Answer {
        output_count,
        output_bytes: 0,
        ..ANSWER
    };
    assert!(garbage(&answering("map", gives(2), &[])).contains("gave 2"));
    assert!(garbage(&answering("aggregate", gives(4), &[])).contains("gave 4"));
    assert!(garbage(&answering("filter_map", gives(4), &[])).contains("gave 4"));
    assert!(garbage(&answering("array_map", gives(u32::MAX), &[])).contains("does not parse"));

    let failed_beyond = Answer {
        status: STATUS_RECORD_FAILED,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", failed_beyond, &[7])).contains("not given"));
    let status = Answer {
        status: 7,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", status, &[7])).contains("status 7"));
}

#[test]
fn bitmaps_of_another_size_or_count_are_garbage() {
    let bitmap = |output_bytes, output_count| Answer {
        output_bytes,
        output_count,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", bitmap(0, 0), &[])).contains("0 bytes instead of 1"));
    assert!(garbage(&answering("filter", bitmap(2, 3), &[7, 0])).contains("2 bytes instead of 1"));
    assert!(garbage(&answering("filter", bitmap(1, 2), &[7])).contains("keeps 3"));
    assert!(garbage(&answering("filter", bitmap(1, 4), &[15])).contains("keeps 4"));
}

#[test]
fn records_that_do_not_parse_or_belong_nowhere_are_garbage() {
    let written = |deltas: &[i64]| {
        let mut section = Vec::new();
        for &delta in deltas {
            write_record(&mut section, 0, delta, None, Some(b"v"), [].into_iter());
        }
        section
    };
    let output = |section: &[u8], output_count| {
        let answer = Answer {
            output_bytes: section.len() as u32,
            output_count,
            ..ANSWER
        };
        garbage(&answering("array_map", answer, section))
    };
    assert!(output(&[1, 2, 3], 1).contains("does not parse"));
    assert!(output(&[0xff; 64], 3).contains("does not parse"));
    assert!(output(&written(&[0, 1]), 1).contains("behind its 1 records"));
    assert!(output(&written(&[0, 3]), 2).contains("offset delta 3"));
    assert!(output(&written(&[0, -1]), 2).contains("offset delta -1"));
    assert!(output(&written(&[1, 0]), 2).contains("offset delta 0"));
    assert!(output(&written(&[1]), 0).contains("no records"));
}

#[test]
fn endless_recursion_is_a_crash_of_the_guest_alone() {
    let recursing = guest(
        "filter",
        "(i32.add (call $call (local.get 0) (local.get 1)) (i32.const 1))",
    );
    match outcome(&recursing) {
        Err(ChainError::Trapped { message, .. }) => {
            assert!(message.contains("stack"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn traps_are_named() {
    let cases = [
        ("unreachable", "unreachable"),
        ("(i32.div_u (i32.const 1) (i32.const 0))", "divide by zero"),
        ("(i32.load (i32.const -4))", "out of bounds"),
    ];
    for (code, expected) in cases {
        match outcome(&guest("filter", code)) {
            Err(ChainError::Trapped { message, .. }) => {
                assert!(message.contains(expected), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_alloc_that_traps_refuses_or_lies_is_found_out() {
    let alloc = |code: &str| {
        let alloc = format!(r#"(func (export "thalweg_alloc") (param i32) (result i32) {code})"#);
        outcome(&wasm(&format!("{HEAD} {alloc} {KEEPS_NOTHING}")))
    };
    assert!(matches!(
        alloc("unreachable"),
        Err(ChainError::Trapped { .. })
    ));
    assert!(matches!(
        alloc("i32.const 0"),
        Err(ChainError::MemoryExceeded { .. })
    ));
    for address in ["-1", "524280", "500000"] {
        assert!(matches!(
            alloc(&format!("i32.const {address}")),
            Err(ChainError::BadOutput { .. })
        ));
    }
    assert!(matches!(
        alloc("(loop br 0) unreachable"),
        Err(ChainError::DeadlineExceeded { .. })
    ));
}

#[test]
fn an_output_that_overlaps_the_input_is_read_as_it_stands() {
    // The bitmap is the first byte of the input: the base offset 100 has the bits 0b110_0100.
    let overlapping = Answer {
        output_address: 65_536,
        output_count: 3,
        ..ANSWER
    };
    assert!(garbage(&answering("filter", overlapping, &[])).contains("bitmap keeps 3"));
}

#[test]
fn what_is_no_wasm_is_refused() {
    for bytes in [
        &b""[..],
        b"\0asm",
        b"not wasm at all",
        b"\0asm\x01\0\0\0\xff\xff\xff\xff\xff",
    ] {
        assert!(matches!(
            engine().load(bytes),
            Err(LoadError::NotWasm { .. } | LoadError::NoKind)
        ));
    }
    assert_eq!(
        engine().load(b"\0asm\x0d\0\x01\0").unwrap_err(),
        LoadError::Component
    );
}

#[test]
fn a_module_cut_anywhere_is_refused() {
    let whole = wasm(&format!("{HEAD} {ALLOC} {KEEPS_NOTHING}"));
    for end in 0..whole.len() {
        assert!(engine().load(&whole[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_module_must_have_one_kind_of_this_abi() {
    let memory = r#"(memory (export "memory") 8)"#;
    let kind = |kind: &str| {
        format!(r#"(func (export "{kind}") (param i32 i32) (result i32) i32.const 0)"#)
    };
    let (filter, map) = (kind("thalweg_filter"), kind("thalweg_map"));

    assert_eq!(refused(&format!("{HEAD} {ALLOC}")), LoadError::NoKind);
    assert_eq!(refused(memory), LoadError::NoKind);
    assert_eq!(
        refused(&format!("{HEAD} {ALLOC} {filter} {map}")),
        LoadError::SeveralKinds {
            kinds: vec!["filter", "map"]
        }
    );
    assert_eq!(
        refused(&format!("{memory} {ALLOC} {filter}")),
        LoadError::NoAbiVersion
    );
    assert_eq!(
        refused(&format!(
            r#"{memory} {ALLOC} {filter} (func (export "thalweg_abi_v2"))"#
        )),
        LoadError::WrongAbiVersion {
            version: "thalweg_abi_v2".to_owned()
        }
    );
    assert_eq!(
        refused(&format!("{memory} {}", kind("filter_map"))),
        LoadError::OtherAbi {
            export: "filter_map".to_owned()
        }
    );
    assert_eq!(
        refused(&format!("{HEAD} {filter}")),
        LoadError::MissingExport {
            export: "thalweg_alloc"
        }
    );
    assert_eq!(
        refused(&format!(
            r#"(memory 1) (func (export "thalweg_abi_v1")) {ALLOC} {filter}"#
        )),
        LoadError::MissingExport { export: "memory" }
    );
}

#[test]
fn exports_of_another_type_are_refused() {
    let long = r#"(func (export "thalweg_filter") (param i64) (result i64) i64.const 0)"#;
    let error = refused(&format!("{HEAD} {ALLOC} {long}"));
    assert_eq!(
        error.to_string(),
        "the export `thalweg_filter` must be a function (i32, i32) -> (i32), not a function (i64) -> (i64)"
    );
    let global = r#"(global (export "thalweg_filter") i32 (i32.const 0))"#;
    assert!(matches!(
        refused(&format!("{HEAD} {ALLOC} {global}")),
        LoadError::WrongExport { .. }
    ));
}

#[test]
fn imports_that_are_not_offered_are_refused_with_a_hint() {
    let import = |import: &str| refused(&format!("{import} {HEAD} {ALLOC} {KEEPS_NOTHING}"));
    let cases = [
        (
            r#"(import "env" "puts" (func (param i32)))"#,
            "left to the linker",
        ),
        (
            r#"(import "wasi_snapshot_preview1" "path_open" (func (param i32)))"#,
            "no files",
        ),
        (r#"(import "thalweg" "exit" (func))"#, "upgrade"),
        (r#"(import "thalweg" "log" (func))"#, "another type"),
        (r#"(import "thalweg" "log" (global i32))"#, "as a function"),
        (r#"(import "js" "mem" (memory 1))"#, "import from `thalweg`"),
    ];
    for (text, hint) in cases {
        let error = import(text);
        assert!(matches!(error, LoadError::ImportNotOffered { .. }));
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[test]
fn structures_made_to_burden_the_host_are_refused() {
    let filler = |text: &str| refused(&format!("{HEAD} {ALLOC} {KEEPS_NOTHING} {text}"));
    let exports = (0..5_000).fold(String::from("(func $f)"), |mut text, index| {
        write!(text, r#"(export "e{index}" (func $f))"#).unwrap();
        text
    });
    let locals = format!("(func (local {}))", "i64 ".repeat(20_000));
    let long = format!("(func {})", "(drop (i32.const 1))".repeat(300_000));
    for text in [
        exports.as_str(),
        locals.as_str(),
        long.as_str(),
        "(table 4000000 funcref)",
        "(table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref) (table 0 funcref)",
    ] {
        let error = filler(text);
        assert!(matches!(error, LoadError::TooMany { .. }), "{error}");
    }
    assert!(matches!(
        filler("(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 9))))"),
        LoadError::InstructionNotOffered {
            instruction: "table.grow",
            ..
        }
    ));
    assert!(matches!(
        filler("(memory 1)"),
        LoadError::TooMany { .. } | LoadError::NotWasm { .. }
    ));
}

#[test]
fn code_that_does_not_validate_is_refused() {
    let unbalanced = guest("filter", "(i32.add (i32.const 1))");
    assert!(engine().load(&unbalanced).is_err());
    // Threads are not offered.
    assert!(matches!(
        refused(&format!(
            "{HEAD} {ALLOC} {KEEPS_NOTHING} (func (drop (i32.atomic.load (i32.const 0))))"
        )),
        LoadError::NotWasm { .. }
    ));
}

#[test]
fn guests_share_a_bound_on_memory_and_give_back_what_they_had() {
    let engine = SmartEngine::new(EngineOptions {
        shared_memory_bytes: 1 << 20,
        ..EngineOptions::default()
    })
    .unwrap();
    let module = engine
        .load(&wasm(&format!("{HEAD} {ALLOC} {KEEPS_NOTHING}")))
        .unwrap();
    let open = || {
        engine.open_chain(ChainOptions::new(vec![Step::new(
            Arc::clone(&module),
            "hungry",
        )]))
    };

    let mut chains = Vec::new();
    let refused = loop {
        match open() {
            Ok(chain) => chains.push(chain),
            Err(error) => break error,
        }
        assert!(chains.len() <= 2, "each takes 8 of the 16 pages");
    };

    assert!(
        matches!(&refused, ChainError::MemoryUsedUp { step } if step == "hungry"),
        "{refused}"
    );
    chains.pop();
    assert!(open().is_ok(), "an instance that ended gave nothing back");
}

#[test]
fn a_module_of_too_many_bytes_is_refused() {
    let engine = SmartEngine::new(EngineOptions {
        module_bytes_max: 100,
        ..EngineOptions::default()
    })
    .unwrap();
    assert_eq!(
        engine.load(&[0; 101]).unwrap_err(),
        LoadError::TooLarge {
            module_bytes: 101,
            limit_bytes: 100
        }
    );
}

#[test]
fn a_guest_that_logs_without_end_is_stopped_all_the_same() {
    let chatty = wasm(&format!(
        r#"(import "thalweg" "log" (func $log (param i32 i32 i32))) {HEAD} {ALLOC}
        (func (export "thalweg_filter") (param i32 i32) (result i32)
          (loop (call $log (i32.const 1) (i32.const 0) (i32.const -1)) br 0) unreachable)"#
    ));
    assert!(matches!(
        outcome(&chatty),
        Err(ChainError::DeadlineExceeded { .. })
    ));
}
