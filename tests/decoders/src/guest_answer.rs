//! The host's side of the ABI: a guest whose answer, output and message are whatever bytes say.
//!
//! The guest returns an address within its own input: where the value of the first record stands,
//! which holds the answer and, behind it, the output. So one compiled module of each kind gives
//! any answer there is.

use std::sync::OnceLock;
use std::time::Duration;

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    CallLimits, ChainError, ChainOptions, ChainOutput, EngineOptions, OnFailure, SmartEngine,
    SmartModuleKind, Step,
};
use thalweg_smartmodule_abi::{ANSWER_BYTES, Answer};
use thalweg_types::Offset;

use crate::choices::Choices;

/// Where the guest has the host put the input.
const INPUT_ADDRESS: u32 = 65_536;
/// The input's header, and the first record up to its value: five numbers of one byte, two of two.
const VALUE_ADDRESS: u32 = INPUT_ADDRESS + 64 + 8;
/// How long that value always is, so that what stands before it is as long as this says.
const VALUE_BYTES: usize = 4_096;
const BASE_OFFSET: i64 = 100;

/// Has a guest answer with what `bytes` say, and checks what the host makes of it. Gives how many
/// records came out.
///
/// # Panics
/// When what comes out breaks the ABI's rules, or can't be read.
pub fn guest_answer(bytes: &[u8]) -> usize {
    let mut given_count = 0;
    let mut choices = Choices::new(bytes);
    let kind = SmartModuleKind::ALL[usize::from(choices.byte()) % SmartModuleKind::ALL.len()];
    let record_count = 1 + usize::from(choices.byte() % 20);
    let on_failure =
        [OnFailure::Stop, OnFailure::Skip, OnFailure::DeadLetter][usize::from(choices.byte() % 3)];
    let batch = batch(record_count, &value(choices, record_count as u32));
    let batch = Batch::parse(&batch).expect("it was just built");
    let step = Step {
        on_failure,
        ..Step::new(module(kind), "guest")
    };
    let mut chain = engine()
        .open_chain(ChainOptions::new(vec![step]))
        .expect("the guest has neither start nor init");

    let end = batch.header().next_offset();
    let mut from = Offset(BASE_OFFSET);
    // An output may end within the batch; then it is given again from there.
    while from < end {
        match chain.process(batch, from) {
            Ok(output) => {
                check_output(&output, from, end);
                given_count += output.record_count;
                from = output.next_offset;
            }
            Err(error) => {
                assert!(
                    !matches!(error, ChainError::Batch(_) | ChainError::Build(_)),
                    "{error}"
                );
                assert!(!error.to_string().is_empty());
                break;
            }
        }
    }
    given_count
}

/// The value of the first record: an answer, and what it may point to.
fn value(mut choices: Choices<'_>, record_count: u32) -> Vec<u8> {
    let behind = VALUE_ADDRESS + ANSWER_BYTES as u32;
    let status = u32::from(choices.byte() % 4);
    let likely_count = match status {
        0 => record_count,
        _ => u32::from(choices.byte()) % record_count,
    };
    let mut answer = Answer {
        status: choices.number_or(status),
        consumed_count: choices.number_or(likely_count),
        output_address: choices.number_or(behind),
        output_count: choices.number_or(likely_count),
        message_address: choices.number_or(behind),
        message_bytes: choices.number_or(12),
        output_bytes: 0,
    };
    if choices.byte().is_multiple_of(4) {
        answer.output_count = u32::from(choices.byte());
    }
    let output_bytes = choices.number_or(u32::MAX);
    let output = choices.rest();
    answer.output_bytes = match output_bytes {
        u32::MAX => output.len() as u32,
        other => other,
    };
    let mut value = answer.encode().to_vec();
    value.extend_from_slice(output);
    value.resize(VALUE_BYTES, 0);
    value
}

fn batch(record_count: usize, first: &[u8]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        base_offset: Offset(BASE_OFFSET),
        ..BatchOptions::default()
    });
    for index in 0..record_count {
        let value = if index == 0 { first } else { b"v" };
        builder
            .push(0, None, Some(value), &[])
            .expect("a few kilobytes fit a batch");
    }
    builder.build().expect("a few kilobytes fit a batch")
}

/// Whatever a guest answers, what is given out can be read by any consumer.
fn check_output(output: &ChainOutput, from: Offset, end: Offset) {
    assert!(output.next_offset > from && output.next_offset <= end);
    let Some(bytes) = &output.records else {
        assert_eq!(output.record_count, 0);
        return;
    };
    let batch = Batch::parse(bytes).expect("the output is a batch");
    batch.verify_crc().expect("its checksum is right");
    let records = batch.records(usize::MAX).expect("it is not compressed");
    let mut previous = from;
    let mut count = 0;
    for record in records.iter() {
        let record = record.expect("its records can be read");
        // They may repeat, whatever the kind: so they do behind an array_map.
        assert!(record.offset >= previous, "offsets go back");
        assert!(record.offset < output.next_offset, "offsets run ahead");
        assert_eq!(record.headers.iter().count(), record.headers.len());
        previous = record.offset;
        count += 1;
    }
    assert_eq!(count, output.record_count);
    assert!(count > 0, "a batch without records was given out");
}

fn engine() -> &'static SmartEngine {
    static ENGINE: OnceLock<SmartEngine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        SmartEngine::new(EngineOptions {
            limits: CallLimits {
                deadline: Duration::from_secs(5),
                output_bytes: 1 << 20,
                ..CallLimits::default()
            },
            ..EngineOptions::default()
        })
        .expect("an engine without a cache needs nothing but threads")
    })
}

fn module(kind: SmartModuleKind) -> std::sync::Arc<thalweg_smartengine::SmartModule> {
    let text = format!(
        r#"(module (memory (export "memory") 8) (func (export "thalweg_abi_v1"))
        (func (export "thalweg_alloc") (param i32) (result i32) i32.const {INPUT_ADDRESS})
        (func (export "thalweg_{}") (param i32 i32) (result i32) i32.const {VALUE_ADDRESS}))"#,
        kind.name()
    );
    let wasm = wat::parse_str(text).expect("the text is a module");
    // Compiled once: the engine knows it by its hash from then on.
    engine().load(&wasm).expect("the module keeps to the ABI")
}
