//! What guests that are left spare time keep others of their process from: how long a thread waits
//! that needs memory of the system, without such guests and beside them.
//!
//! A few threads want the processor all the time. Sixty streams one after the other open a chain whose
//! module loops until its deadline; the engine knows it, and leaves them the time that nobody else
//! wants. Another thread maps and unmaps a megabyte every millisecond.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "the machine's own time is what is measured"
)]

use std::hint::black_box;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{
    CallLimits, ChainOptions, EngineOptions, SmartEngine, SmartModule, Step,
};
use thalweg_types::Offset;

const BUSY_THREADS: usize = 4;
const STREAMS: usize = 60;
const MAPPED_BYTES: usize = 1 << 20;
const MEASURED: Duration = Duration::from_secs(20);
const LOOPING: &str = r#"(module
    (memory (export "memory") 8)
    (func (export "thalweg_abi_v1"))
    (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
    (func (export "thalweg_filter") (param i32 i32) (result i32) (loop br 0) unreachable))"#;

fn main() {
    let (is_over, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let streams = Streams::new(&is_over, &ended);
    std::thread::scope(|scope| {
        for _ in 0..BUSY_THREADS {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    black_box(());
                }
            });
        }
        report("without guests", 0, waits());
        for _ in 0..STREAMS {
            scope.spawn(|| streams.run());
        }
        let waits = waits();
        report("beside guests", ended.load(Ordering::Relaxed), waits);
        is_over.store(true, Ordering::Relaxed);
    });
}

/// Streams with a module that loops, one after the other.
struct Streams<'a> {
    engine: SmartEngine,
    module: Arc<SmartModule>,
    batch: Arc<Vec<u8>>,
    is_over: &'a AtomicBool,
    ended: &'a AtomicUsize,
}

impl<'a> Streams<'a> {
    fn new(is_over: &'a AtomicBool, ended: &'a AtomicUsize) -> Self {
        let limits = CallLimits {
            deadline: Duration::from_millis(50),
            ..CallLimits::default()
        };
        let engine = SmartEngine::new(EngineOptions {
            limits,
            ..EngineOptions::default()
        });
        let engine = engine.unwrap();
        let wasm = wasmer::wat2wasm(LOOPING.as_bytes()).unwrap();
        let mut builder = BatchBuilder::new(BatchOptions::default());
        builder.push(0, None, Some(b"one"), &[]).unwrap();
        Self {
            module: engine.load(&wasm).unwrap(),
            engine,
            batch: Arc::new(builder.build().unwrap()),
            is_over,
            ended,
        }
    }

    fn run(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let lane = self.engine.lane();
            lane.runs([&*self.module]);
            let (done, heard) = sync_channel(1);
            let (engine, batch) = (self.engine.clone(), Arc::clone(&self.batch));
            let step = Step::new(Arc::clone(&self.module), "looping");
            let job = move || {
                // Opening may come to its deadline, too.
                if let Ok(mut chain) = engine.open_chain(ChainOptions::new(vec![step])) {
                    let batch = Batch::parse(&batch).unwrap();
                    chain.process(batch, Offset::ZERO).unwrap_err();
                }
                done.send(()).unwrap();
            };
            lane.run(Box::new(job)).unwrap();
            heard.recv().unwrap();
            self.ended.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How long each mapping took, sorted.
fn waits() -> Vec<Duration> {
    let started = Instant::now();
    let mut waits = Vec::new();
    while started.elapsed() < MEASURED {
        let mapping = Instant::now();
        map_and_unmap();
        waits.push(mapping.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
    waits.sort_unstable();
    waits
}

fn map_and_unmap() {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANON;
    // SAFETY: it is new memory, of which one byte is written while it is there.
    unsafe {
        let mapped = libc::mmap(null_mut(), MAPPED_BYTES, protection, flags, -1, 0);
        assert_ne!(mapped, libc::MAP_FAILED);
        mapped.cast::<u8>().write(1);
        assert_eq!(libc::munmap(mapped, MAPPED_BYTES), 0);
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it found")]
fn report(what: &str, ended: usize, waits: Vec<Duration>) {
    let at = |share: usize| waits[(waits.len() - 1) * share / 1000];
    println!(
        "{what}: {} mappings, p50 {:?}, p99 {:?}, p99.9 {:?}, at most {:?}; {ended} guests ended",
        waits.len(),
        at(500),
        at(990),
        at(999),
        at(1000),
    );
}
