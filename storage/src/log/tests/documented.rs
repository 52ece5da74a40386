//! The examples in `docs/formats` are what the code writes and reads.

use std::path::Path;
use std::time::Duration;

use thalweg_record::{Batch, BatchHeader};
use thalweg_types::{LeaderEpoch, Offset};

use crate::LogOptions;
use crate::checkpoint::{Checkpoint, CleanShutdown};
use crate::compaction::CleanedTo;
use crate::damage::Damage;
use crate::epoch_cache::EpochCache;
use crate::files::StdFiles;
use crate::options::CompactionOptions;
use crate::producer_state::Producers;
use crate::segment_index::{FileIndex, IndexPaths, IndexedSegment, MemoryIndex};
use crate::testing::{
    NOW_MS, PlainRecord, TestBed, append, batch_of, clean, compacted, keyed, marker_of, read_all,
    records_in,
};

/// Has `producers` see a batch at `offset`.
fn note(producers: &mut Producers, batch: &[u8], offset: Offset) {
    let header = BatchHeader {
        base_offset: offset,
        ..*Batch::parse(batch).unwrap().header()
    };
    let sequences = super::super::writer::sequences_of(&header).unwrap();
    producers.note_batch(&sequences, &header, NOW_MS);
}

/// The bytes of a block ```` ```hex NAME ````, without what stands after `|`.
fn example(page: &str, name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/formats")
        .join(page);
    let text = std::fs::read_to_string(path).unwrap();
    let block = text.split(&format!("```hex {name}\n")).nth(1).unwrap();
    let lines = block.lines().take_while(|line| !line.starts_with("```"));
    lines
        .flat_map(|line| line.split('|').next().unwrap().split_whitespace())
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

#[test]
fn the_small_files_are_as_documented() {
    let checkpoint = Checkpoint {
        high_watermark: Offset(7),
        log_start: Offset(3),
        clean: Some(CleanShutdown {
            last_segment: Offset(5),
            last_segment_bytes: 99,
            log_end: Offset(8),
        }),
        sync_failed_at: None,
    };
    let mut epochs = EpochCache::default();
    epochs.assign(LeaderEpoch(0), Offset(0));
    epochs.assign(LeaderEpoch(2), Offset(10));
    let mut producers = Producers::default();
    note(&mut producers, &batch_of(7, 0, 0, 10), Offset(100));
    note(&mut producers, &marker_of(1, 0, Offset(5000)), Offset(110));

    let cleaned = CleanedTo {
        first_dirty: Offset(42),
        tombstones_until_ms: Some(NOW_MS + 86_400_000),
    };

    let damage = Damage {
        offset: Offset(41_230),
        reason: "bad CRC".to_owned(),
    };

    let page = "data-directory.md";
    assert_eq!(damage.encode(), example(page, "damaged"));
    assert_eq!(Damage::decode(&example(page, "damaged")).unwrap(), damage);
    assert_eq!(cleaned.encode(), example(page, "compacted"));
    assert_eq!(
        CleanedTo::decode(&example(page, "compacted")).unwrap(),
        cleaned
    );
    assert_eq!(checkpoint.encode(), example(page, "checkpoint"));
    assert_eq!(epochs.encode(), example(page, "leader-epochs"));
    assert_eq!(producers.encode(Offset(111)), example(page, "producers"));
    assert_eq!(
        Checkpoint::decode(&example(page, "checkpoint")).unwrap(),
        checkpoint
    );
    assert_eq!(
        EpochCache::decode(&example(page, "leader-epochs")).unwrap(),
        epochs
    );
    let decoded = Producers::decode(&example(page, "producers")).unwrap();
    assert_eq!(decoded, (producers, Offset(111)));
}

#[test]
fn the_indexes_are_as_documented() {
    let folder = tempfile::tempdir().unwrap();
    let (offsets, times) = (folder.path().join("index"), folder.path().join("timeindex"));
    let paths = IndexPaths {
        offsets: &offsets,
        times: &times,
    };
    let mut index = MemoryIndex::new(Offset(100), 4096);
    index.observe(Offset(100), NOW_MS, 0);
    index.observe(Offset(110), NOW_MS + 5, 4200);
    let segment = IndexedSegment {
        next_offset: Offset(120),
        log_bytes: 8400,
    };

    index.store(&StdFiles, &paths, &segment).unwrap();

    assert_eq!(
        std::fs::read(&offsets).unwrap(),
        example("segment.md", "index")
    );
    assert_eq!(
        std::fs::read(&times).unwrap(),
        example("segment.md", "timeindex")
    );
    let opened = FileIndex::open(&StdFiles, &paths, Offset(100), 8400)
        .unwrap()
        .unwrap();
    assert_eq!(opened.load(4096).unwrap(), index);
}

#[test]
fn a_compacted_segment_is_as_documented() {
    let options = compacted();
    let compaction = options.compaction.clone().unwrap();
    let bed = TestBed::new(LogOptions {
        compaction: Some(CompactionOptions {
            delete_retention: Duration::from_secs(86_400),
            ..compaction
        }),
        ..options
    });
    let log = bed.open();
    append(&log, keyed(NOW_MS, &[("a", Some("1"))])).unwrap();
    append(&log, keyed(NOW_MS, &[("a", Some("2"))])).unwrap();
    append(&log, keyed(NOW_MS, &[("a", Some("3")), ("b", None)])).unwrap();
    log.roll().unwrap();

    clean(&log, NOW_MS).unwrap();

    let bytes = read_all(&log, Offset(0));
    assert_eq!(bytes, example("segment.md", "compacted"));
    let record = |offset, key: &str, value: Option<&str>| PlainRecord {
        offset,
        timestamp_ms: NOW_MS,
        key: Some(key.to_owned()),
        value: value.map(str::to_owned),
    };
    let expected = [record(2, "a", Some("3")), record(3, "b", None)];
    assert_eq!(records_in(&bytes), expected);
}
