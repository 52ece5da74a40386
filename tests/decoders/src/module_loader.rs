//! The module loader: any bytes as a module, compiled and run where they pass the checks.

use std::sync::OnceLock;
use std::time::Duration;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{CallLimits, ChainOptions, EngineOptions, SmartEngine, Step};
use thalweg_smartmodule_inspect::{check_code, check_sections};
use thalweg_types::Offset;

/// Larger ones are left to the tests of compile times.
const BYTES_MAX: usize = 64 << 10;

/// Loads `wasm` and puts a batch through it.
///
/// # Panics
/// When what passed the checks does not compile, or what comes out can't be read.
pub fn module_loader(wasm: &[u8]) {
    let shape = check_sections(wasm);
    let code = check_code(wasm);
    if wasm.len() > BYTES_MAX {
        return;
    }
    let loaded = engine().load(wasm);
    let Ok(module) = loaded else {
        return;
    };
    assert!(
        shape.is_ok() && code.is_ok(),
        "loaded what the checks refuse"
    );
    let Ok(mut chain) = engine().open_chain(ChainOptions::new(vec![Step::new(module, "guest")]))
    else {
        return;
    };
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for value in [&b"one"[..], b"two", b"three"] {
        builder
            .push(0, Some(b"key"), Some(value), &[])
            .expect("three small records fit a batch");
    }
    let batch = builder.build().expect("three small records fit a batch");
    let batch = Batch::parse(&batch).expect("it was just built");
    let Ok(output) = chain.process(batch, Offset::ZERO) else {
        return;
    };
    if let Some(records) = &output.records {
        let records = Batch::parse(records).expect("the output is a batch");
        records.verify_crc().expect("its checksum is right");
        let records = records.records(usize::MAX).expect("it is not compressed");
        assert!(records.iter().all(|record| record.is_ok()));
    }
}

fn engine() -> &'static SmartEngine {
    static ENGINE: OnceLock<SmartEngine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        SmartEngine::new(EngineOptions {
            limits: CallLimits {
                // A module that loops is common among damaged ones, and tells nothing new.
                deadline: Duration::from_millis(20),
                memory_bytes: 4 << 20,
                output_bytes: 1 << 20,
                ..CallLimits::default()
            },
            ..EngineOptions::default()
        })
        .expect("an engine without a cache needs nothing but threads")
    })
}
