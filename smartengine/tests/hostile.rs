//! Guests that loop, grab, lie and crash: what the errors hold, and bounds of an engine's own. What their
//! users are told, module by module, is with the corpus in `tests/hostile`.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::sync::Arc;

use thalweg_record::Codec;
use thalweg_smartengine::{
    ChainError, ChainOptions, EngineOptions, GivenRecords, LoadError, SmartEngine, Step,
};
use thalweg_smartmodule_abi::{Answer, STATUS_OK};
use thalweg_types::Offset;

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

/// The records that [`outcome`] gives a module.
fn the_three() -> GivenRecords {
    GivenRecords {
        first: Offset(100),
        last: Offset(102),
        first_key: Some(b"0".to_vec()),
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
            deadline_ms: 200,
            given: Some(the_three()),
        })
    );
}

#[test]
fn many_loops_at_once_all_end() {
    let looping = guest("filter", "(loop br 0) unreachable");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                assert!(matches!(
                    outcome(&looping),
                    Err(ChainError::DeadlineExceeded { .. } | ChainError::Starved { .. })
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
            limit_bytes: 16 << 20,
            given: Some(the_three()),
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
                limit_bytes: 1 << 20,
                given: Some(the_three()),
            })
        );
    }
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
