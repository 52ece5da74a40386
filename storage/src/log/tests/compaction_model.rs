//! A compacted log against a list of all records that were ever appended.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use thalweg_record::{Codec, batches, stamp_sequence};
use thalweg_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

use crate::testing::{
    DELETE_RETENTION, NOW_MS, PlainRecord, TestBed, append, clean_with, compacted, crash, keyed_in,
    read_all, records_in,
};
use crate::{Log, LogOptions};

#[derive(Debug, Clone)]
enum Step {
    Append {
        /// Keys, and whether each is a tombstone.
        records: Vec<(u8, bool)>,
        codec: Codec,
        /// Which idempotent producer, if any.
        sender: Option<u8>,
    },
    Clean {
        map_bytes: usize,
    },
    /// Time goes on, so that tombstones may go.
    Wait,
    Roll,
    BeginEpoch,
    TruncateUncommitted {
        by: i64,
    },
    DeleteBefore {
        share: f64,
    },
    Close,
    Crash {
        forgets_producers: bool,
    },
    SendAgain {
        sender: u8,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let records = prop::collection::vec((0..9u8, prop::bool::weighted(0.2)), 1..5);
    let sender = prop::option::of(0..3u8);
    let codec = prop::sample::select(Codec::ALL.to_vec());
    prop_oneof![
        16 => (records, codec, sender)
            .prop_map(|(records, codec, sender)| Step::Append { records, codec, sender }),
        4 => (0..2000usize).prop_map(|map_bytes| Step::Clean { map_bytes }),
        1 => Just(Step::Wait),
        1 => Just(Step::Roll),
        1 => Just(Step::BeginEpoch),
        1 => (1..6i64).prop_map(|by| Step::TruncateUncommitted { by }),
        1 => (0.0..0.5).prop_map(|share| Step::DeleteBefore { share }),
        1 => Just(Step::Close),
        1 => any::<bool>().prop_map(|forgets_producers| Step::Crash { forgets_producers }),
        2 => (0..3u8).prop_map(|sender| Step::SendAgain { sender }),
    ]
}

/// An idempotent producer, and what it sent last.
struct Sender {
    id: i64,
    next_sequence: i32,
    last: Option<(Offset, Vec<u8>)>,
}

struct Model {
    /// Every record, at the place of its offset.
    history: Vec<PlainRecord>,
    log_start: i64,
    committed: i64,
    now_ms: i64,
    epoch: i32,
    senders: BTreeMap<u8, Sender>,
    next_id: i64,
}

impl Model {
    fn run(&mut self, bed: &TestBed, log: &mut Arc<Log>, step: &Step) {
        match step {
            Step::Append {
                records,
                codec,
                sender,
            } => self.append(log, records, *codec, *sender),
            Step::Clean { map_bytes } => {
                let report = clean_with(log, *map_bytes, self.now_ms).unwrap();
                assert!(report.finished);
                self.committed = log.log_end().0;
                self.check(log);
                self.check_clean(log, report.first_dirty);
            }
            Step::Wait => self.now_ms += DELETE_RETENTION.as_millis() as i64,
            Step::Roll => {
                if log.active_segment().tail().len_bytes > 0 {
                    log.roll().unwrap();
                }
            }
            Step::BeginEpoch => {
                self.epoch += 1;
                log.begin_epoch(LeaderEpoch(self.epoch)).unwrap();
            }
            Step::TruncateUncommitted { by } => {
                let to = (log.log_end().0 - by).max(self.committed);
                log.truncate_to(Offset(to)).unwrap();
                let end = usize::try_from(log.log_end().0).unwrap();
                self.history.truncate(end);
                // What they sent last may be gone, so others take their place.
                self.senders.clear();
            }
            Step::DeleteBefore { share } => {
                let span = (self.committed - self.log_start) as f64;
                self.log_start += (span * share) as i64;
                log.set_high_watermark(Offset(self.committed));
                log.delete_records_before(Offset(self.log_start)).unwrap();
            }
            Step::Close => {
                log.close().unwrap();
                *log = bed.open();
            }
            Step::Crash { forgets_producers } => {
                crash(std::mem::replace(log, bed.placeholder()));
                if *forgets_producers {
                    let _ = std::fs::remove_file(bed.path().join("producers"));
                    // Where their batches were deleted by request, nothing tells of them.
                    let start = Offset(self.log_start);
                    self.senders.retain(|_, sender| {
                        sender.last.as_ref().is_some_and(|last| last.0 >= start)
                    });
                }
                *log = bed.open();
            }
            Step::SendAgain { sender } => {
                if let Some(Sender {
                    last: Some((offset, bytes)),
                    ..
                }) = self.senders.get(sender)
                {
                    let again = append(log, bytes.clone()).unwrap();
                    assert!(again.duplicate, "of sender {sender}");
                    assert_eq!(again.base_offset, *offset);
                }
            }
        }
    }

    fn append(&mut self, log: &Arc<Log>, records: &[(u8, bool)], codec: Codec, sender: Option<u8>) {
        let base = i64::try_from(self.history.len()).unwrap();
        for (offset, (key, is_tombstone)) in (base..).zip(records) {
            self.history.push(PlainRecord {
                offset,
                timestamp_ms: NOW_MS + base,
                key: Some(format!("key {key}")),
                value: (!is_tombstone).then(|| format!("value of offset {offset}")),
            });
        }
        let new = &self.history[usize::try_from(base).unwrap()..];
        let fields: Vec<_> = new
            .iter()
            .map(|record| (record.key.as_deref().unwrap(), record.value.as_deref()))
            .collect();
        let mut bytes = keyed_in(codec, NOW_MS + base, &fields);
        let sender = sender.map(|slot| {
            self.senders.entry(slot).or_insert_with(|| {
                self.next_id += 1;
                Sender {
                    id: self.next_id,
                    next_sequence: 0,
                    last: None,
                }
            })
        });
        if let Some(sender) = &sender {
            let (id, epoch) = (ProducerId(sender.id), ProducerEpoch(0));
            stamp_sequence(&mut bytes, id, epoch, sender.next_sequence).unwrap();
        }
        let appended = append(log, bytes.clone()).unwrap();
        assert_eq!(
            (appended.base_offset, appended.duplicate),
            (Offset(base), false)
        );
        if let Some(sender) = sender {
            sender.next_sequence += i32::try_from(records.len()).unwrap();
            sender.last = Some((Offset(base), bytes));
        }
    }

    /// The newest record of each key, from the log's start on.
    fn newest(&self) -> BTreeMap<&str, &PlainRecord> {
        let mut newest = BTreeMap::new();
        for record in &self.history[usize::try_from(self.log_start).unwrap()..] {
            newest.insert(record.key.as_deref().unwrap(), record);
        }
        newest
    }

    fn check(&self, log: &Log) {
        assert_eq!(log.log_start(), Offset(self.log_start));
        assert_eq!(log.log_end().0, self.history.len() as i64);
        let bytes = read_all(log, log.log_start());
        let mut next = None;
        for batch in batches(&bytes) {
            let header = *batch.unwrap().header();
            assert_eq!(header.base_offset, next.unwrap_or(header.base_offset));
            next = Some(header.next_offset());
        }
        let mut kept = records_in(&bytes);
        kept.retain(|record| record.offset >= self.log_start);
        let mut last = -1;
        for record in &kept {
            assert!(record.offset > last);
            last = record.offset;
            assert_eq!(*record, self.history[usize::try_from(last).unwrap()]);
        }
        for (key, newest) in self.newest() {
            let found = kept
                .iter()
                .rfind(|record| record.key.as_deref() == Some(key));
            if newest.value.is_some() {
                assert_eq!(found, Some(newest), "the newest of {key} must stay");
            } else {
                // It may be gone, but then with all that it deleted.
                assert!(found.is_none_or(|found| found == newest), "{key} came back");
            }
        }
        self.check_reads(log, &kept);
    }

    /// From every offset a read gives the next record that there is.
    fn check_reads(&self, log: &Log, kept: &[PlainRecord]) {
        for from in (self.log_start..log.log_end().0).step_by(3) {
            let mut next = Offset(from);
            let found = loop {
                if next >= log.log_end() {
                    break None;
                }
                let slice = log.read(next, 1, log.log_end()).unwrap();
                let records = records_in(&slice.read_bytes().unwrap());
                let found = records.into_iter().find(|record| record.offset >= from);
                if found.is_some() {
                    break found;
                }
                next = slice.next_offset;
            };
            let wanted = kept.iter().find(|record| record.offset >= from);
            assert_eq!(found.as_ref(), wanted, "from {from}");
        }
    }

    /// Where it is compacted, each key is there once.
    fn check_clean(&self, log: &Log, first_dirty: Offset) {
        let mut seen = BTreeMap::new();
        for record in records_in(&read_all(log, log.log_start())) {
            if record.offset >= self.log_start && record.offset < first_dirty.0 {
                let before = seen.insert(record.key.clone(), record.offset);
                assert_eq!(before, None, "{record:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_compacted_log_holds_the_newest_record_of_each_key(
        steps in prop::collection::vec(step(), 1..80),
        segment_bytes in 200..2000u64,
    ) {
        let bed = TestBed::new(LogOptions { segment_bytes, ..compacted() });
        let mut log = bed.open();
        let mut model = Model {
            history: Vec::new(),
            log_start: 0,
            committed: 0,
            now_ms: NOW_MS,
            epoch: 0,
            senders: BTreeMap::new(),
            next_id: 0,
        };

        for step in &steps {
            model.run(&bed, &mut log, step);
        }

        model.run(&bed, &mut log, &Step::Roll);
        model.run(&bed, &mut log, &Step::Clean { map_bytes: 1 << 16 });
        model.run(&bed, &mut log, &Step::Wait);
        model.run(&bed, &mut log, &Step::Clean { map_bytes: 1 << 16 });
        model.run(&bed, &mut log, &Step::Close);
        model.check(&log);
        let live = model.newest().values().filter(|record| record.value.is_some()).count();
        let mut left = records_in(&read_all(&log, log.log_start()));
        left.retain(|record| record.offset >= model.log_start);
        prop_assert_eq!(left.len(), live, "all else is gone, tombstones too");
    }
}
