//! Guests that loop, crash and lie where their step goes on without records, or looks back.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::sync::Arc;

use thalweg_record::{Batch, Codec};
use thalweg_smartengine::{
    Chain, ChainError, ChainOptions, EngineOptions, LookBackWindow, OnFailure, SmartEngine, Step,
};
use thalweg_types::{LookBack, Offset};

use support::by_hand::{ALLOC, HEAD, KEEPS_NOTHING, guest, the_engine_goes_on, wasm};
use support::{batch, engine, process, tight};

#[allow(
    clippy::disallowed_methods,
    reason = "what is bounded is the machine's own time"
)]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// A chain of one module that leaves out the records that it fails on.
fn skipping(wasm: &[u8]) -> Chain {
    let module = engine().load(wasm).unwrap();
    engine()
        .open_chain(ChainOptions {
            limits: tight(),
            ..ChainOptions::new(vec![Step {
                on_failure: OnFailure::Skip,
                ..Step::new(module, "guest")
            }])
        })
        .unwrap()
}

#[test]
fn a_module_that_crashes_on_every_record_ends_in_the_end() {
    let mut chain = skipping(&guest("filter", "unreachable"));
    let values: Vec<_> = (0..5_000).map(|_| "x").collect();
    let input = batch(0, Codec::None, &values);

    let output = process(&mut chain, &input).unwrap();
    let error = process(&mut chain, &input).unwrap_err();

    // The first crash was of the whole batch, the last one was one too many.
    assert_eq!(output.failed.len(), 998);
    assert_eq!(output.next_offset.0, 998);
    assert!(
        matches!(error, ChainError::TooManyCrashes { crashes: 1000, .. }),
        "{error}"
    );
    the_engine_goes_on();
}

#[test]
fn a_module_that_loops_on_every_record_holds_no_thread_for_long() {
    let mut chain = skipping(&guest("filter", "(loop br 0) unreachable"));
    let values: Vec<_> = (0..5_000).map(|_| "x").collect();
    let input = batch(0, Codec::None, &values);
    let started = clock();

    let output = process(&mut chain, &input).unwrap();
    let error = process(&mut chain, &input).unwrap_err();

    assert!(!output.failed.is_empty() && output.failed.len() < 11);
    assert!(
        matches!(
            error,
            ChainError::BatchDeadlineExceeded {
                limit_ms: 2_000,
                ..
            }
        ),
        "{error}"
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(30));
}

#[test]
fn garbage_is_nobodys_record_and_ends_the_stream() {
    let mut chain = skipping(&guest("filter", "i32.const -1"));
    let error = process(&mut chain, &batch(0, Codec::None, &["a", "b"])).unwrap_err();
    assert!(matches!(error, ChainError::BadOutput { .. }), "{error}");
}

#[test]
fn failing_at_every_second_of_many_records_is_quick() {
    let module = engine().load(&support::sdk_module("moody")).unwrap();
    let values: Vec<_> = (0..100_000)
        .map(|index| if index % 2 == 0 { "fail" } else { "fine" })
        .collect();
    let input = batch(0, Codec::None, &values);
    let mut chain = engine()
        .open_chain(ChainOptions::new(vec![Step {
            on_failure: OnFailure::DeadLetter,
            ..Step::new(module, "moody")
        }]))
        .unwrap();
    let started = clock();

    let output = process(&mut chain, &input).unwrap();

    assert_eq!((output.record_count, output.failed.len()), (50_000, 50_000));
    let elapsed = started.elapsed();
    assert!(elapsed < std::time::Duration::from_secs(5), "{elapsed:?}");
}

#[test]
fn traps_loops_and_lies_in_a_look_back_end_the_opening() {
    let looking = |code: &str| {
        let wasm = wasm(&format!(
            r#"{HEAD} {ALLOC} {KEEPS_NOTHING}
            (func (export "thalweg_look_back") (param i32 i32) (result i32) {code})"#
        ));
        let step = Step {
            look_back: Some(LookBack {
                last: Some(9),
                age_ms: None,
            }),
            ..Step::new(engine().load(&wasm).unwrap(), "guest")
        };
        let mut chain = engine()
            .open_chain(ChainOptions {
                limits: tight(),
                ..ChainOptions::new(vec![step])
            })
            .unwrap();
        let input = batch(10, Codec::None, &["a", "b"]);
        let window = LookBackWindow {
            from: Offset(11),
            until: Offset(12),
            not_before_ms: None,
        };
        let shown = chain.look_back(0, Batch::parse(&input).unwrap(), &window);
        assert_eq!(process(&mut chain, &input), Err(ChainError::Spent));
        the_engine_goes_on();
        shown.unwrap_err()
    };
    for (code, expected) in [
        ("unreachable", "crashed"),
        ("(loop br 0) unreachable", "200 ms"),
    ] {
        match looking(code) {
            ChainError::LookBack {
                offset, message, ..
            } => {
                assert_eq!(offset, Offset(11));
                assert!(message.contains(expected), "{message}");
            }
            other => panic!("{other}"),
        }
    }
    // It deals with no record, and says that all is well: the memory at 0 is empty.
    assert!(matches!(
        looking("i32.const 0"),
        ChainError::BadOutput { .. }
    ));
}

#[test]
fn endless_recursion_on_a_guest_thread_leaves_the_thread_serving() {
    let recursing = guest(
        "filter",
        "(i32.add (call $call (local.get 0) (local.get 1)) (i32.const 1))",
    );
    let single = SmartEngine::new(EngineOptions {
        guest_threads: 1,
        ..EngineOptions::default()
    })
    .unwrap();
    let module = single.load(&recursing).unwrap();
    let lane = single.lane();
    for _ in 0..3 {
        let (engine, module) = (single.clone(), Arc::clone(&module));
        let (done, outcome) = std::sync::mpsc::sync_channel(1);
        lane.run(Box::new(move || {
            let steps = vec![Step::new(module, "guest")];
            let mut chain = engine.open_chain(ChainOptions::new(steps)).unwrap();
            let ended = process(&mut chain, &batch(0, Codec::None, &["a"]));
            done.send(ended).unwrap();
        }))
        .unwrap();
        let ended = outcome.recv_timeout(std::time::Duration::from_secs(60));
        assert!(
            matches!(ended.unwrap(), Err(ChainError::Trapped { message, .. }) if message.contains("stack"))
        );
    }
}
