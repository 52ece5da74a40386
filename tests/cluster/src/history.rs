//! What a test produced, what was acknowledged, and whether the log agrees.
//!
//! The rules are those of Jepsen's Kafka workloads that can be broken without consumer groups: no
//! acknowledged record lost, none stored twice, none in another order than it was sent in, none
//! that nobody sent, offsets dense.

use std::collections::{BTreeMap, BTreeSet};

use thalweg_client::{Client, ConsumerOptions, EndOffset, StartOffset};
use thalweg_types::{Offset, PartitionIndex, TopicName};

/// What one producer sent to one topic, in order, and what it was told.
#[derive(Debug, Default)]
pub struct History {
    sent: BTreeSet<u64>,
    acknowledged: BTreeMap<u64, (PartitionIndex, Option<Offset>)>,
}

/// A log as a consumer read it: each partition's records in order.
pub type ReadBack = BTreeMap<PartitionIndex, Vec<(Offset, u64)>>;

impl History {
    /// Notes that record `number` is about to be sent. Numbers must grow.
    pub fn sent(&mut self, number: u64) {
        self.sent.insert(number);
    }

    /// Notes that record `number` was acknowledged, and where it is said to be.
    pub fn acknowledged(&mut self, number: u64, partition: PartitionIndex, offset: Option<Offset>) {
        self.acknowledged.insert(number, (partition, offset));
    }

    /// How many records were acknowledged.
    #[must_use]
    pub fn acknowledged_count(&self) -> usize {
        self.acknowledged.len()
    }

    /// Checks what was read back against what was sent and acknowledged.
    ///
    /// # Panics
    /// When an acknowledged record is lost or elsewhere than it was said to be, when a record is
    /// there twice, out of order or was never sent, or when offsets have gaps.
    pub fn check(&self, read_back: &ReadBack) {
        let mut found = BTreeMap::new();
        for (partition, records) in read_back {
            let mut previous: Option<(Offset, u64)> = None;
            for &(offset, number) in records {
                assert!(
                    self.sent.contains(&number),
                    "record {number} was never sent"
                );
                if let Some((last_offset, last_number)) = previous {
                    assert_eq!(
                        offset,
                        last_offset.next(),
                        "partition {partition} has a gap after {last_offset}"
                    );
                    assert!(
                        number > last_number,
                        "partition {partition} has {number} at {offset}, after {last_number}"
                    );
                }
                previous = Some((offset, number));
                let elsewhere = found.insert(number, (*partition, offset));
                assert_eq!(elsewhere, None, "record {number} is stored twice");
            }
        }
        for (number, (partition, offset)) in &self.acknowledged {
            let place = found.get(number);
            assert!(
                place
                    .is_some_and(|place| place.0 == *partition
                        && offset.is_none_or(|offset| offset == place.1)),
                "record {number} was acknowledged at {partition}/{offset:?} and is at {place:?}"
            );
        }
    }
}

/// Reads a topic from its beginning to its end; every record's value is its number as text.
///
/// # Panics
/// When the topic can't be read, or a value is no number.
pub async fn read_back(client: &Client, topic: &TopicName) -> ReadBack {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client
        .consumer(topic, options)
        .await
        .expect("the topic can be read");
    let mut records: ReadBack = BTreeMap::new();
    while let Some(batch) = consumer.next_batch().await.expect("the log is whole") {
        let partition = records.entry(batch.partition()).or_default();
        for record in batch.records() {
            let value = record.value.expect("the test sends values");
            let text = std::str::from_utf8(value).expect("the test sends text");
            partition.push((record.offset, text.parse().expect("the test sends numbers")));
        }
    }
    records
}
