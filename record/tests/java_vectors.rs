//! Batches of Apache Kafka's own Java client, in both directions.
//!
//! `tests/vectors` holds what `tests/compat/java-vectors` made: a batch, and beside it a text of
//! what Java reads out of it.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the answer")]

#[path = "java/description.rs"]
mod description;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use thalweg_record::{
    Batch, BatchBuilder, BatchOptions, Codec, Header, assemble_batch, compression,
};
use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampType};

use description::describe;

const LIMIT: usize = 1 << 20;

struct Vector {
    name: String,
    bytes: Vec<u8>,
    description: String,
}

fn vectors() -> Vec<Vector> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut vectors: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| Vector {
            name: path.file_stem().unwrap().to_str().unwrap().to_owned(),
            bytes: fs::read(&path).unwrap(),
            description: fs::read_to_string(path.with_extension("txt")).unwrap(),
        })
        .collect();
    vectors.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(vectors.len(), 21, "a vector is missing or untested");
    vectors
}

/// A batch of the records and fields of `batch`, made by our builder.
fn rebuilt(batch: &Batch<'_>) -> Vec<u8> {
    let header = batch.header();
    let is_log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    let mut builder = BatchBuilder::new(BatchOptions {
        codec: header.codec().unwrap(),
        base_offset: header.base_offset,
        leader_epoch: header.leader_epoch,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        log_append_time_ms: is_log_append_time.then_some(header.max_timestamp_ms),
        transactional: header.is_transactional(),
        control: header.is_control(),
    });
    // By the leader's time the batch's own timestamps are hidden, yet they are there.
    let mut visible = *header;
    visible.set_timestamp_type(TimestampType::CreateTime);
    let records = batch.records(LIMIT).unwrap();
    let records = thalweg_record::Records::new(visible, records.into_bytes());
    for record in &records {
        let record = record.unwrap();
        let delta = (record.offset.0 - header.base_offset.0).try_into().unwrap();
        let headers: Vec<Header<'_>> = record.headers.iter().collect();
        builder
            .push_at(
                delta,
                record.timestamp_ms,
                record.key,
                record.value,
                &headers,
            )
            .unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn we_read_what_java_reads() {
    for vector in vectors() {
        let batch = Batch::parse(&vector.bytes).unwrap();

        batch.validate(LIMIT).unwrap();
        assert_eq!(describe(&batch), vector.description, "{}", vector.name);
    }
}

#[test]
fn our_builder_writes_the_bytes_that_java_writes() {
    let builders_only_write = |batch: &Batch<'_>| {
        batch.header().codec() == Ok(Codec::None)
            // Compaction writes these, not a producer.
            && !batch.header().has_delete_horizon()
            && batch.header().record_count > 0
    };
    let mut compared = 0;
    for vector in vectors() {
        let batch = Batch::parse(&vector.bytes).unwrap();
        if builders_only_write(&batch) {
            assert_eq!(rebuilt(&batch), vector.bytes, "{}", vector.name);
            compared += 1;
        }
    }
    assert_eq!(compared, 13);
}

#[test]
fn assembling_javas_records_under_javas_header_changes_nothing() {
    for vector in vectors() {
        let batch = Batch::parse(&vector.bytes).unwrap();
        let codec = batch.header().codec().unwrap();
        let records = batch.records(LIMIT).unwrap();

        let assembled = assemble_batch(*batch.header(), records.as_bytes(), codec).unwrap();

        if codec == Codec::None {
            assert_eq!(assembled, vector.bytes, "{}", vector.name);
        }
        let again = Batch::parse(&assembled).unwrap();
        again.validate(LIMIT).unwrap();
        let again = again.records(LIMIT).unwrap();
        assert_eq!(again.as_bytes(), records.as_bytes(), "{}", vector.name);
    }
}

#[test]
fn our_snappy_has_javas_framing() {
    let vector = vectors();
    let java = vector.iter().find(|v| v.name == "codec-snappy").unwrap();
    let batch = Batch::parse(&java.bytes).unwrap();
    let records = batch.records(LIMIT).unwrap();

    let ours = compression::compress(Codec::Snappy, records.as_bytes());

    assert_eq!(ours[..16], batch.records_bytes()[..16]);
}

#[test]
#[ignore = "runs Maven and a JDK; see tests/compat/java-vectors/README.md"]
fn java_reads_what_we_write() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("java-reads-ours");
    fs::create_dir_all(&folder).unwrap();
    let mut written = Vec::new();
    for vector in vectors() {
        written.push((vector.name, vector.bytes));
    }
    for codec in Codec::ALL {
        written.push((format!("ours-{codec}"), batch_of_ours(codec)));
    }
    for (name, bytes) in &written {
        let ours = match Batch::parse(bytes).unwrap() {
            batch if batch.header().record_count > 0 => rebuilt(&batch),
            batch => batch.bytes().to_vec(),
        };
        let text = describe(&Batch::parse(&ours).unwrap());
        fs::write(folder.join(name).with_extension("bin"), ours).unwrap();
        fs::write(folder.join(name).with_extension("txt"), text).unwrap();
    }

    let mut maven = Command::new("mvn");
    if env::var_os("THALWEG_MAVEN_OFFLINE").is_some() {
        maven.arg("-o");
    }
    let status = maven
        .args(["-q", "-B", "compile", "exec:java"])
        .arg(format!("-Dexec.args=verify {}", folder.display()))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/compat/java-vectors"))
        .status()
        .expect("mvn runs");

    assert!(status.success());
}

/// A few thousand records with everything that a batch can have.
fn batch_of_ours(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(BatchOptions {
        codec,
        base_offset: Offset(1 << 40),
        leader_epoch: LeaderEpoch(12),
        producer_id: ProducerId(i64::MAX),
        producer_epoch: ProducerEpoch(3),
        base_sequence: 17,
        ..BatchOptions::default()
    });
    for index in 0..3000_usize {
        let key = format!("key {index}");
        let value = format!("value {index} ").repeat(index % 40);
        let headers = [
            Header::new("name", key.as_bytes()),
            Header {
                key: b"name",
                value: None,
            },
        ];
        let timestamp_ms = 1_750_000_000_000 + (index as i64 % 7) * i64::from(i32::MAX);
        builder
            .push_at(
                2 * index as i32,
                timestamp_ms,
                (index % 3 > 0).then_some(key.as_bytes()),
                (index % 5 > 0).then_some(value.as_bytes()),
                &headers[..index % 3],
            )
            .unwrap();
    }
    builder.build().unwrap()
}
