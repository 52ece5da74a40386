//! Guests that are to be stopped in the host's own code: where their stack ends there, or their deadline
//! passes. What the host holds at that moment it must give back, or others wait for it for ever.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

use std::sync::mpsc;
use std::time::Duration;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{CallLimits, ChainOptions, EngineOptions, SmartEngine, Step};
use thalweg_tests_hostile::is_stopped;
use thalweg_types::Offset;

/// A module that calls the host from every depth. Each number of parameters has its own size of
/// frames, so that the stack ends elsewhere in the host.
fn recursion(parameter_count: usize) -> Vec<u8> {
    let declared = "(param i64) ".repeat(parameter_count);
    let first = "(i64.const 7) ".repeat(parameter_count);
    let of_each =
        |form: fn(usize) -> String| (2..parameter_count + 2).map(form).collect::<String>();
    let passed_on = of_each(|index| format!("(i64.add (local.get {index}) (i64.const {index}))"));
    // Used after the call, so that they are kept on the stack.
    let used = of_each(|index| format!("(i64.store (i32.const 8) (local.get {index}))"));
    wat::parse_str(format!(
        r#"(module
            (import "thalweg" "log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 8)
            (func (export "thalweg_abi_v1"))
            (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
            (func $again (param $input i32) (param $bytes i32) {declared} (result i32)
                (local $result i32)
                (call $log (i32.const 4) (i32.const 0) (i32.const 0))
                (local.set $result
                    (call $again (local.get $input) (local.get $bytes) {passed_on}))
                {used}
                (i32.add (local.get $result) (i32.const 1)))
            (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
                (call $again (local.get $input) (local.get $bytes) {first})))"#
    ))
    .unwrap()
}

/// A module that calls itself as often as its input has bytes, and then does what has the host make an
/// error: of all that happens on a guest's stack this takes the most.
fn traps_in_the_host(instruction: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (memory (export "memory") 8)
            (func (export "thalweg_abi_v1"))
            (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
            (func $again (param $depth i32) (result i32)
                (if (i32.eqz (local.get $depth))
                    (then {instruction}))
                (i32.add (call $again (i32.sub (local.get $depth) (i32.const 1))) (i32.const 1)))
            (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
                (call $again (local.get $bytes))))"#,
    ))
    .unwrap()
}

/// A module that does the same for ever.
fn for_ever(instructions: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
            (import "thalweg" "log" (func $log (param i32 i32 i32)))
            (memory (export "memory") 800)
            (func (export "thalweg_abi_v1"))
            (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
            (func (export "thalweg_filter") (param $input i32) (param $bytes i32) (result i32)
                (loop $again
                    {instructions}
                    (br $again))
                i32.const 0))"#,
    ))
    .unwrap()
}

/// A module that calls the host for ever.
fn calls_the_host() -> Vec<u8> {
    for_ever("(call $log (i32.const 4) (i32.const 0) (i32.const 0))")
}

fn engine(deadline: Duration) -> SmartEngine {
    SmartEngine::new(EngineOptions {
        limits: CallLimits {
            deadline,
            ..CallLimits::default()
        },
        ..EngineOptions::default()
    })
    .unwrap()
}

fn outcome(engine: &SmartEngine, wasm: &[u8]) -> String {
    outcome_of(engine, wasm, b"one")
}

fn outcome_of(engine: &SmartEngine, wasm: &[u8], value: &[u8]) -> String {
    let module = engine.load(wasm).unwrap();
    let step = Step::new(module, "guest");
    let mut chain = match engine.open_chain(ChainOptions::new(vec![step])) {
        Ok(chain) => chain,
        // On a busy machine that takes longer than the shortest deadline.
        Err(error) => return error.to_string(),
    };
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(value), &[]).unwrap();
    let batch = builder.build().unwrap();
    let batch = Batch::parse(&batch).unwrap();
    chain.process(batch, Offset::ZERO).unwrap_err().to_string()
}

/// Runs `work` on a thread of its own; `None` where it does not end.
fn within_a_minute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (done, heard) = mpsc::sync_channel(1);
    std::thread::spawn(move || done.send(work()));
    heard.recv_timeout(Duration::from_secs(60)).ok()
}

#[test]
fn a_stack_that_ends_in_a_call_of_the_host_holds_nobody_up() {
    let engine = engine(Duration::from_secs(10));
    for parameter_count in 0..60 {
        let engine = engine.clone();
        let told = within_a_minute(move || outcome(&engine, &recursion(parameter_count)));

        let told = told.unwrap_or_else(|| panic!("with {parameter_count} it does not end"));
        assert!(told.contains("stack"), "{parameter_count}: {told}");
    }
}

#[test]
fn a_stack_that_ends_in_a_trap_of_the_host_holds_nobody_up() {
    for (instruction, error) in [
        (
            "(memory.copy (i32.const 0) (i32.const -1) (i32.const 9))",
            "out of bounds",
        ),
        (
            "(memory.fill (i32.const -1) (i32.const 0) (i32.const 9))",
            "out of bounds",
        ),
        ("unreachable", "unreachable"),
    ] {
        at_the_end_of_the_stack(instruction, error);
    }
}

/// Has a guest trap at every depth from where the host has room for it to where the guest has none
/// itself.
fn at_the_end_of_the_stack(instruction: &str, error: &str) {
    /// More than the stack has room for.
    const DEPTH_MAX: usize = 80_000;
    /// More than there are frames where the host has too little room.
    const TOO_LITTLE_ROOM: usize = 2_000;
    let engine = engine(Duration::from_secs(10));
    let wasm = traps_in_the_host(instruction);
    let told = |depth: usize| {
        let (engine, wasm) = (engine.clone(), wasm.clone());
        let told = within_a_minute(move || outcome_of(&engine, &wasm, &vec![b'x'; depth]));
        told.unwrap_or_else(|| panic!("{instruction}: at a depth of {depth} it does not end"))
    };
    let (mut has_room, mut has_none) = (0, DEPTH_MAX);
    while has_none - has_room > 1 {
        let depth = usize::midpoint(has_room, has_none);
        if told(depth).contains(error) {
            has_room = depth;
        } else {
            has_none = depth;
        }
    }
    for depth in has_none..has_none + TOO_LITTLE_ROOM {
        let told = told(depth);
        assert!(
            told.contains("stack"),
            "{instruction}: at {depth} it is told: {told}"
        );
    }
}

#[test]
fn a_guest_that_is_hardly_ever_in_its_own_code_ends_at_its_deadline() {
    let engine = engine(Duration::from_millis(50));
    for instructions in [
        "(drop (memory.grow (i32.const 0)))",
        "(memory.fill (i32.const 0) (i32.const 1) (i32.const 52000000))",
        "(memory.copy (i32.const 0) (i32.const 26000000) (i32.const 26000000))",
    ] {
        let (engine, wasm) = (engine.clone(), for_ever(instructions));
        let told = within_a_minute(move || outcome(&engine, &wasm));

        let told = told.unwrap_or_else(|| panic!("{instructions} does not end"));
        assert!(is_stopped(&told), "{instructions}: {told}");
    }
}

#[test]
fn a_deadline_that_passes_in_a_call_of_the_host_holds_nobody_up() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 300;
    let engine = engine(Duration::from_millis(2));
    let ended = within_a_minute(move || {
        let threads = (0..THREADS).map(|_| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                (0..ROUNDS)
                    .map(|_| outcome(&engine, &calls_the_host()))
                    .find(|told| !is_stopped(told))
            })
        });
        let threads: Vec<_> = threads.collect();
        let told = threads.into_iter().map(|thread| thread.join().unwrap());
        told.flatten().next()
    });

    assert_eq!(ended.expect("a store can't be left"), None);
}
