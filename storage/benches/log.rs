//! What the log costs: appends with either durability, reads, and opening many partitions.
//!
//! `cargo bench -p thalweg-storage`. The data goes to the system's temporary directory, so set
//! `TMPDIR` to a folder on the disk that is of interest.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_storage::{
    Append, Log, LogHealth, LogListener, LogOptions, LogProgress, StdFiles, StorageThreads,
    ThreadOptions,
};
use thalweg_types::{Durability, LeaderEpoch, Offset};

const NOW_MS: i64 = 1_700_000_000_000;
const RECORD_BYTES: usize = 1024;

/// How many appends one measured turn has in flight together.
const APPENDS: usize = 256;

fn batch(records: usize) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let value = vec![b'x'; RECORD_BYTES];
    for _ in 0..records {
        builder
            .push(NOW_MS, None, Some(&value), &[])
            .expect("a small batch");
    }
    Bytes::from(builder.build().expect("a small batch"))
}

fn open(path: &Path, durability: Durability, threads: &Arc<StorageThreads>) -> Arc<Log> {
    let options = LogOptions {
        durability,
        segment_bytes: 256 << 20,
        ..LogOptions::default()
    };
    let files = Arc::new(StdFiles);
    Log::open(path.to_owned(), options, Arc::clone(threads), files, NOW_MS).expect("a fresh folder")
}

fn threads() -> Arc<StorageThreads> {
    StorageThreads::start(ThreadOptions::default()).expect("threads")
}

/// Waits for the log to become stable.
#[derive(Default)]
struct Stable {
    end: Mutex<Offset>,
    wake: Condvar,
}

impl Stable {
    fn wait(&self, offset: Offset) {
        let mut end = self.end.lock().expect("not poisoned");
        while *end < offset {
            end = self.wake.wait(end).expect("not poisoned");
        }
    }
}

impl LogListener for Stable {
    fn progressed(&self, progress: LogProgress) {
        let mut end = self.end.lock().expect("not poisoned");
        *end = (*end).max(progress.stable_end);
        self.wake.notify_all();
    }

    fn failed(&self, health: LogHealth) {
        panic!("{health:?}");
    }
}

fn submit(log: &Arc<Log>, batches: Bytes) {
    log.submit(Append {
        batches,
        leader_epoch: LeaderEpoch(0),
        now_ms: NOW_MS,
        sequences: None,
        done: Box::new(|result| {
            result.expect("appended");
        }),
    });
}

fn appends(criterion: &mut Criterion) {
    let threads = threads();
    for (name, durability) in [("memory", Durability::Memory), ("fsync", Durability::Fsync)] {
        let mut group = criterion.benchmark_group(format!("append_{name}"));
        group.sample_size(10);
        for records in [1, 64] {
            let bytes = batch(records);
            group.throughput(Throughput::Bytes((bytes.len() * APPENDS) as u64));
            let folder = tempfile::tempdir().expect("a folder");
            let log = open(folder.path(), durability, &threads);
            let stable = Arc::new(Stable::default());
            log.set_listener(stable.clone());
            let mut end = 0;
            group.bench_function(format!("{records}_records_of_1_kib"), |bencher| {
                bencher.iter(|| {
                    for _ in 0..APPENDS {
                        submit(&log, bytes.clone());
                    }
                    end += (records * APPENDS) as i64;
                    stable.wait(Offset(end));
                });
            });
            log.close().expect("closed");
        }
        group.finish();
    }
}

fn reads(criterion: &mut Criterion) {
    let threads = threads();
    let folder = tempfile::tempdir().expect("a folder");
    let log = open(folder.path(), Durability::Memory, &threads);
    let stable = Arc::new(Stable::default());
    log.set_listener(stable.clone());
    let bytes = batch(16);
    let batches = 4096;
    for at in 0..batches {
        submit(&log, bytes.clone());
        // The queue is bounded.
        stable.wait(Offset(16 * (at - 100)));
    }
    let end = Offset(16 * batches);
    stable.wait(end);
    let mut group = criterion.benchmark_group("read");
    let mut next = 0;
    group.bench_function("slice_of_1_mib", |bencher| {
        bencher.iter(|| {
            next = (next + 7919) % end.0;
            log.read(Offset(next), 1 << 20, end).expect("in the log")
        });
    });
    group.bench_function("at_the_end", |bencher| {
        bencher.iter(|| log.read(end.plus(-1), 1 << 20, end).expect("in the log"));
    });
    group.finish();
    log.close().expect("closed");
}

fn opens(criterion: &mut Criterion) {
    let threads = threads();
    let folder = tempfile::tempdir().expect("a folder");
    let path = |at: usize| folder.path().join(at.to_string());
    let options = LogOptions {
        segment_bytes: 2048,
        durability: Durability::Memory,
        ..LogOptions::default()
    };
    let open = |at: usize| {
        let (threads, files) = (Arc::clone(&threads), Arc::new(StdFiles));
        Log::open(path(at), options.clone(), threads, files, NOW_MS).expect("a sound log")
    };
    for at in 0..1000 {
        let log = open(at);
        let stable = Arc::new(Stable::default());
        log.set_listener(stable.clone());
        for _ in 0..10 {
            submit(&log, batch(1));
        }
        stable.wait(Offset(10));
        log.close().expect("closed");
    }
    let mut group = criterion.benchmark_group("open");
    group.sample_size(10);
    group.bench_function("1000_partitions_of_10_segments", |bencher| {
        bencher.iter_batched(
            || (),
            |()| (0..1000).map(open).collect::<Vec<_>>(),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, appends, reads, opens);
criterion_main!(benches);
