//! What compaction does when nothing bounds it: how many bytes of log a second one thread compacts,
//! by the clock, and by the processor time that it takes, which says more on a busy machine.
//!
//! `cargo bench -p thalweg-storage --bench compaction`. The data goes to the system's temporary
//! directory, so set `TMPDIR` to a folder on the disk that is of interest.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use thalweg_record::{BatchBuilder, BatchOptions, Codec};
use thalweg_storage::{
    Append, CleanOptions, CleanPace, CompactionOptions, Log, LogOptions, StdFiles, StorageThreads,
    ThreadOptions,
};
use thalweg_types::{Durability, LeaderEpoch};

const NOW_MS: i64 = 1_700_000_000_000;

/// How large the log is that is compacted.
const LOG_BYTES: usize = 256 << 20;

/// How large a batch is, about.
const BATCH_BYTES: usize = 64 << 10;

struct NoPace;

impl CleanPace for NoPace {
    fn spend(&self, _bytes: u64) -> bool {
        true
    }
}

/// What the records of a log are like.
#[derive(Clone, Copy)]
struct Shape {
    record_bytes: usize,
    codec: Codec,
    /// Every so many records have a key that comes again.
    keys: u64,
}

fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 20,
        durability: Durability::Memory,
        compaction: Some(CompactionOptions {
            min_dirty_millionths: 0,
            min_lag: Duration::ZERO,
            max_lag: Duration::MAX,
            delete_retention: Duration::ZERO,
        }),
        ..LogOptions::default()
    }
}

/// A log of closed segments, none of which was compacted before.
fn filled(path: &Path, threads: &Arc<StorageThreads>, shape: Shape) -> Arc<Log> {
    let files = Arc::new(StdFiles);
    let log = Log::open(
        path.to_owned(),
        options(),
        Arc::clone(threads),
        files,
        NOW_MS,
    )
    .expect("a fresh folder");
    let mut value = vec![b'x'; shape.record_bytes];
    let mut number = 0_u64;
    for _ in 0..LOG_BYTES / BATCH_BYTES {
        let mut builder = BatchBuilder::new(BatchOptions {
            codec: shape.codec,
            ..BatchOptions::default()
        });
        for _ in 0..BATCH_BYTES / shape.record_bytes {
            // Scattered, as keys are.
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            // Half of it can't be compressed.
            for chunk in value[..shape.record_bytes / 2].chunks_exact_mut(8) {
                number = number.rotate_left(7).wrapping_mul(0x9E37_79B9_7F4A_7C15);
                chunk.copy_from_slice(&number.to_be_bytes());
            }
            let key = ((number >> 33) % shape.keys).to_be_bytes();
            builder
                .push(NOW_MS, Some(&key), Some(&value), &[])
                .expect("a small batch");
        }
        append(&log, Bytes::from(builder.build().expect("a small batch")));
    }
    log.set_high_watermark(log.log_end());
    // Synced and closed for sure.
    log.close().expect("closed");
    let files = Arc::new(StdFiles);
    let log = Log::open(
        path.to_owned(),
        options(),
        Arc::clone(threads),
        files,
        NOW_MS,
    )
    .expect("a sound log");
    log.set_high_watermark(log.log_end());
    log
}

fn append(log: &Arc<Log>, batches: Bytes) {
    let (sender, receiver) = sync_channel(1);
    log.submit(Append {
        batches,
        leader_epoch: LeaderEpoch(0),
        now_ms: NOW_MS,
        sequences: None,
        done: Box::new(move |result| {
            result.expect("appended");
            sender.send(()).expect("somebody waits");
        }),
    });
    receiver.recv().expect("answered");
}

fn compaction(criterion: &mut Criterion) {
    let threads = StorageThreads::start(ThreadOptions::default()).expect("threads");
    let shape = |record_bytes, codec, keys| Shape {
        record_bytes,
        codec,
        keys,
    };
    let cases = [
        ("1_kib_one_in_ten_stays", shape(1024, Codec::None, 26_000)),
        ("1_kib_most_stay", shape(1024, Codec::None, 1 << 40)),
        (
            "100_bytes_one_in_ten_stays",
            shape(100, Codec::None, 260_000),
        ),
        (
            "1_kib_lz4_one_in_ten_stays",
            shape(1024, Codec::Lz4, 26_000),
        ),
    ];
    for clock in [Clock::Wall, Clock::Processor] {
        let mut group = criterion.benchmark_group(format!("compact_{clock:?}"));
        group.sample_size(10);
        group.sampling_mode(criterion::SamplingMode::Flat);
        for (name, shape) in cases {
            let probe = tempfile::tempdir().expect("a folder");
            let size_bytes = filled(probe.path(), &threads, shape).size_bytes();
            drop(probe);
            group.throughput(Throughput::Bytes(size_bytes));
            group.bench_function(name, |bencher| {
                bencher.iter_custom(|turns| {
                    (0..turns)
                        .map(|_| compact_once(&threads, shape, clock))
                        .sum()
                });
            });
        }
        group.finish();
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Clock {
    Wall,
    Processor,
}

impl Clock {
    fn now(self) -> Duration {
        match self {
            #[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
            Self::Wall => SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .expect("after 1970"),
            Self::Processor => {
                let stat =
                    std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has it");
                let ns = stat.split_whitespace().next().expect("it has three fields");
                Duration::from_nanos(ns.parse().expect("a number"))
            }
        }
    }
}

fn compact_once(threads: &Arc<StorageThreads>, shape: Shape, clock: Clock) -> Duration {
    let folder = tempfile::tempdir().expect("a folder");
    let log = filled(folder.path(), threads, shape);
    let clean = CleanOptions {
        map_bytes: 128 << 20,
        secret: (1, 2),
        pace: &NoPace,
    };
    let began = clock.now();
    let report = log.clean(&clean, NOW_MS).expect("compacted");
    let took = clock.now() - began;
    assert!(report.finished && report.passes > 0);
    log.close().expect("closed");
    took
}

criterion_group!(benches, compaction);
criterion_main!(benches);
