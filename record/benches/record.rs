//! How fast batches are built, checked, iterated and compressed.
//!
//! `cargo bench -p thalweg-record`

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec, compression};

const BATCH_BYTES: usize = 256 * 1024;
const LIMIT: usize = 64 << 20;

/// Text that compresses about as well as log lines do.
fn value(index: usize, value_bytes: usize) -> Vec<u8> {
    let line = format!(
        "2013-01-{:02} UA{index} EWR IAH {:03} minutes late; ",
        index % 28 + 1,
        index * 7 % 180
    );
    line.bytes().cycle().take(value_bytes).collect()
}

fn values(value_bytes: usize) -> Vec<Vec<u8>> {
    (0..BATCH_BYTES / value_bytes)
        .map(|index| value(index, value_bytes))
        .collect()
}

fn built(codec: Codec, values: &[Vec<u8>]) -> Vec<u8> {
    let options = BatchOptions {
        codec,
        ..BatchOptions::default()
    };
    let mut builder = BatchBuilder::with_capacity(options, BATCH_BYTES * 5 / 4);
    for (index, value) in values.iter().enumerate() {
        builder
            .push(1_750_000_000_000 + index as i64, None, Some(value), &[])
            .expect("the batch is small");
    }
    builder.build().expect("the batch is small")
}

fn plain_batches(criterion: &mut Criterion) {
    for value_bytes in [100, 1024] {
        let values = values(value_bytes);
        let batch_bytes = built(Codec::None, &values);
        let mut group = criterion.benchmark_group(format!("{value_bytes}-byte-values"));
        group.throughput(Throughput::Elements(values.len() as u64));
        group.bench_function("build", |bencher| {
            bencher.iter(|| built(Codec::None, black_box(&values)));
        });
        group.bench_function("iterate", |bencher| {
            let batch = Batch::parse(&batch_bytes).expect("it was just built");
            bencher.iter(|| {
                let records = batch.records(LIMIT).expect("it is not compressed");
                let sizes = records.iter().map(|record| {
                    record
                        .expect("it was just built")
                        .value
                        .map_or(0, <[u8]>::len)
                });
                black_box(sizes.sum::<usize>())
            });
        });
        group.bench_function("cut-apart", |bencher| {
            let batch = Batch::parse(&batch_bytes).expect("it was just built");
            bencher.iter(|| {
                let records = batch.records(LIMIT).expect("it is not compressed");
                black_box(
                    records
                        .iter_encoded()
                        .flatten()
                        .map(<[u8]>::len)
                        .sum::<usize>(),
                )
            });
        });
        group.throughput(Throughput::Bytes(batch_bytes.len() as u64));
        group.bench_function("validate-produced", |bencher| {
            bencher.iter(|| {
                Batch::parse(black_box(&batch_bytes))
                    .expect("sound")
                    .validate_produced()
            });
        });
        group.finish();
    }
}

fn codecs(criterion: &mut Criterion) {
    let batch = built(Codec::None, &values(1024));
    let records = Batch::parse(&batch)
        .expect("it was just built")
        .records_bytes();
    let mut group = criterion.benchmark_group("codecs");
    group.throughput(Throughput::Bytes(records.len() as u64));
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let compressed = compression::compress(codec, records);
        group.bench_function(BenchmarkId::new("compress", codec), |bencher| {
            bencher.iter(|| compression::compress(codec, black_box(records)));
        });
        group.bench_function(BenchmarkId::new("decompress", codec), |bencher| {
            bencher.iter(|| compression::decompress(codec, black_box(&compressed), LIMIT));
        });
    }
    group.finish();
}

criterion_group!(benches, plain_batches, codecs);
criterion_main!(benches);
