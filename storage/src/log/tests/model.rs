//! A log against the simplest thing that could be one: a list of batches.

use std::sync::Arc;

use proptest::prelude::*;
use thalweg_types::{Durability, LeaderEpoch, Offset};

use crate::testing::{NOW_MS, TestBed, append, batch_at, crash, options, read_all};
use crate::{Log, LogOptions};

#[derive(Debug, Clone)]
enum Step {
    Append {
        count: usize,
        length: usize,
    },
    BeginEpoch,
    Read {
        from: f64,
        max_bytes: u32,
        until: f64,
    },
    Truncate {
        to: f64,
    },
    DeleteBefore {
        offset: f64,
    },
    Scrub,
    Close,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..5usize, 0..200usize).prop_map(|(count, length)| Step::Append { count, length }),
        1 => Just(Step::BeginEpoch),
        6 => (0.0..1.0, 1..2000u32, 0.0..1.0)
            .prop_map(|(from, max_bytes, until)| Step::Read { from, max_bytes, until }),
        2 => (0.5..1.0).prop_map(|to| Step::Truncate { to }),
        1 => (0.0..0.7).prop_map(|offset| Step::DeleteBefore { offset }),
        1 => Just(Step::Scrub),
        1 => Just(Step::Close),
        2 => Just(Step::Crash),
    ]
}

/// Batches with the offsets that they begin and end at.
#[derive(Default)]
struct Model {
    batches: Vec<(i64, i64, Vec<u8>)>,
    log_start: i64,
    log_end: i64,
    epoch: i32,
}

impl Model {
    fn at(&self, share: f64) -> Offset {
        let span = (self.log_end - self.log_start) as f64;
        Offset(self.log_start + (span * share) as i64)
    }

    fn check(&self, log: &Log) {
        assert_eq!(log.log_start(), Offset(self.log_start));
        assert_eq!(log.log_end(), Offset(self.log_end));
        let kept = self
            .batches
            .iter()
            .filter(|(_, end, _)| *end > self.log_start);
        let expected: Vec<u8> = kept.flat_map(|(_, _, bytes)| bytes.clone()).collect();
        assert_eq!(read_all(log, Offset(self.log_start)), expected);
    }

    fn run(&mut self, bed: &TestBed, log: &mut Arc<Log>, step: &Step) {
        match *step {
            Step::Append { count, length } => {
                let value = "x".repeat(length);
                let mut bytes = batch_at(NOW_MS, &vec![value.as_str(); count]);
                let appended = append(log, bytes.clone()).unwrap();
                assert_eq!(appended.base_offset, Offset(self.log_end));
                let epoch = log.latest_epoch();
                thalweg_record::stamp_position(&mut bytes, appended.base_offset, epoch).unwrap();
                self.batches
                    .push((self.log_end, appended.next_offset.0, bytes));
                self.log_end = appended.next_offset.0;
            }
            Step::BeginEpoch => {
                self.epoch += 1;
                log.begin_epoch(LeaderEpoch(self.epoch)).unwrap();
            }
            Step::Read {
                from,
                max_bytes,
                until,
            } => {
                let (from, until) = (self.at(from), self.at(until));
                let slice = log.read(from, max_bytes, until).unwrap();
                let mut size = 0;
                let mut expected = Vec::new();
                for (_, end, bytes) in self.batches.iter().filter(|(_, end, _)| *end > from.0) {
                    size += bytes.len();
                    if *end > until.0 || (size > max_bytes as usize && !expected.is_empty()) {
                        break;
                    }
                    expected.extend_from_slice(bytes);
                }
                let given = slice.read_bytes().unwrap();
                // A slice may be shorter where a segment or an index interval ends.
                assert!(expected.starts_with(&given));
                assert_eq!(given.is_empty(), expected.is_empty());
            }
            Step::Truncate { to } => {
                let to = self.at(to);
                log.truncate_to(to).unwrap();
                let cut = self.batches.iter().find(|(_, end, _)| *end > to.0);
                self.log_end = cut.map_or(self.log_end, |batch| batch.0);
                self.batches.retain(|(_, end, _)| *end <= to.0);
                self.log_start = self.log_start.min(self.log_end);
            }
            Step::DeleteBefore { offset } => {
                let offset = self.at(offset);
                log.set_high_watermark(Offset(self.log_end));
                log.delete_records_before(offset).unwrap();
                self.log_start = offset.0;
            }
            Step::Scrub => {
                assert_eq!(log.scrub(700).unwrap().damaged_at, None);
            }
            Step::Close => {
                log.close().unwrap();
                *log = bed.open();
            }
            Step::Crash => {
                crash(std::mem::replace(log, bed.placeholder()));
                *log = bed.open();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_log_is_a_list_of_batches(
        steps in prop::collection::vec(step(), 1..60),
        is_synced in any::<bool>(),
    ) {
        let durability = if is_synced { Durability::Fsync } else { Durability::Memory };
        let bed = TestBed::new(LogOptions { segment_bytes: 1500, durability, ..options() });
        let mut log = bed.open();
        let mut model = Model::default();

        for step in &steps {
            model.run(&bed, &mut log, step);
        }

        model.check(&log);
        log.close().unwrap();
        model.check(&bed.open());
    }
}
