//! A deadline counts what the guest had of the processor, and not what others took from it.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use thalweg_record::Codec;
use thalweg_smartengine::{CallLimits, Chain, ChainError};
use thalweg_smartmodule_abi::Answer;

use support::by_hand::{ALLOC, HEAD, wasm};
use support::{batch, chain_of, process};

/// How often the honest guest goes around before it answers: tens of milliseconds.
const ROUNDS: u32 = 50_000_000;
/// How many threads want each processor beside it.
const BUSY_PER_PROCESSOR: usize = 8;
/// How much more the guest may have than it needs.
const DEADLINES_NEEDED: u32 = 3;

/// A filter that works for a while and keeps all of three records.
fn hard_working() -> Vec<u8> {
    let answer = Answer {
        consumed_count: 3,
        output_address: 256,
        output_bytes: 1,
        output_count: 3,
        ..Answer::default()
    };
    let answer: String = answer
        .encode()
        .iter()
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    wasm(&format!(
        r#"{HEAD} {ALLOC} (data (i32.const 0) "{answer}") (data (i32.const 256) "\07")
        (func (export "thalweg_filter") (param i32 i32) (result i32)
          (local $left i32)
          (local.set $left (i32.const {ROUNDS}))
          (loop $again
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
          i32.const 0)"#
    ))
}

fn chain(deadline: Duration) -> Chain {
    let limits = CallLimits {
        deadline,
        ..CallLimits::default()
    };
    chain_of(&hard_working(), limits).unwrap()
}

/// How many of three records the guest keeps.
fn run(chain: &mut Chain) -> Result<usize, ChainError> {
    let three = batch(0, Codec::None, &["a", "b", "c"]);
    process(chain, &three).map(|output| output.record_count)
}

/// What this thread has had of the processor.
fn processor_time() -> Duration {
    let had = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let had_ns = had.split_whitespace().next().unwrap();
    Duration::from_nanos(had_ns.parse().unwrap())
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "how long a guest takes is the machine's own time"
)]
fn an_honest_guest_that_others_starve_comes_to_its_end_beyond_its_deadline() {
    let mut unhurried = chain(Duration::from_secs(1));
    assert_eq!(run(&mut unhurried), Ok(3));
    let before = processor_time();
    assert_eq!(run(&mut unhurried), Ok(3));
    let needed = processor_time() - before;
    let deadline = needed * DEADLINES_NEEDED;
    let mut starved = chain(deadline);
    let is_over = AtomicBool::new(false);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);

    let (outcome, elapsed) = std::thread::scope(|scope| {
        for _ in 0..processors * BUSY_PER_PROCESSOR {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        // One call may come while the busy ones still begin.
        let calls = std::iter::repeat_with(|| {
            let started = Instant::now();
            (run(&mut starved), started.elapsed())
        });
        let last = { calls }.find(|(outcome, elapsed)| outcome.is_err() || *elapsed > deadline);
        is_over.store(true, Ordering::Relaxed);
        last.unwrap()
    });

    assert_eq!(outcome, Ok(3), "needs {needed:?}, took {elapsed:?}");
}
