//! Every hostile module in the engine: its own user is told what is wrong, and the next one is served.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

use std::error::Error;
use std::time::{Duration, Instant};

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    CallLimits, ChainOptions, EngineOptions, LookBackWindow, SmartEngine, Step,
};
use thalweg_tests_hostile::{HostileModule, bombs, corpus, honest};
use thalweg_types::{LookBack, Offset};

/// How long a module may take to compile at most, with what a busy machine adds.
const COMPILE_SECONDS_MAX: u64 = 60;

fn engine() -> SmartEngine {
    SmartEngine::new(EngineOptions {
        limits: CallLimits {
            deadline: Duration::from_millis(300),
            ..CallLimits::default()
        },
        ..EngineOptions::default()
    })
    .unwrap()
}

/// What a module makes of a batch of three records, twice.
fn outcome(
    engine: &SmartEngine,
    wasm: &[u8],
    module_looks_back: bool,
) -> Result<usize, Box<dyn Error>> {
    let module = engine.load(wasm)?;
    let mut step = Step::new(module, "guest");
    if module_looks_back {
        step.look_back = Some(LookBack {
            last: Some(2),
            age_ms: None,
        });
    }
    let mut chain = engine.open_chain(ChainOptions::new(vec![step]))?;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in [&b"one"[..], b"two", b"three"] {
        builder.push(0, None, Some(value), &[])?;
    }
    let batch = builder.build()?;
    let batch = Batch::parse(&batch)?;
    for (step, _) in chain.wants_look_back() {
        let window = LookBackWindow {
            from: Offset(1),
            until: Offset(3),
            not_before_ms: None,
        };
        chain.look_back(step, batch, &window)?;
    }
    let output = chain.process(batch, Offset::ZERO)?;
    if let Some(records) = &output.records {
        // Whatever the engine gives out, a consumer must be able to read.
        let records = Batch::parse(records)?;
        records.verify_crc()?;
        for record in records.records(usize::MAX)?.iter() {
            record?;
        }
    }
    chain.process(batch, Offset::ZERO)?;
    Ok(output.record_count)
}

fn told(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told += &format!(": {error}");
        cause = error.source();
    }
    told
}

/// What is wrong with how the engine took `module`, if anything.
fn complaint(engine: &SmartEngine, module: &HostileModule) -> Option<String> {
    let name = &module.name;
    let told = match outcome(engine, &module.wasm, module.looks_back()) {
        Ok(_) if module.expect.is_empty() => String::new(),
        Ok(count) => return Some(format!("{name} got away with {count} records")),
        Err(error) => told(error.as_ref()),
    };
    eprintln!("{name}: {told}");
    if !module.expects(&told) {
        return Some(format!("{name} was told: {told}"));
    }
    match outcome(engine, &honest().unwrap(), false) {
        Ok(3) => None,
        other => Some(format!("after {name} the engine gives {other:?}")),
    }
}

#[test]
fn every_hostile_module_is_told_why_and_the_engine_goes_on() {
    let engine = engine();
    let modules = corpus().unwrap();
    assert!(modules.len() > 100, "{} modules", modules.len());

    let complaints: Vec<_> = modules
        .iter()
        .filter(|module| !module.expect.is_empty())
        .filter_map(|module| complaint(&engine, module))
        .collect();

    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long a module takes to compile is the machine's own time"
)]
fn no_module_holds_the_compiler_for_ever() {
    let engine = engine();
    for bomb in bombs() {
        let started = Instant::now();
        let complaint = complaint(&engine, &bomb);

        let elapsed = started.elapsed();
        eprintln!("{}: {} bytes, {elapsed:.1?}", bomb.name, bomb.wasm.len());
        assert_eq!(complaint, None);
        assert!(elapsed.as_secs() < COMPILE_SECONDS_MAX, "{}", bomb.name);
    }
}
