//! Which output partition a record goes to. Pure.
//!
//! A record that leaves the chain with the header `thalweg.output` goes to the topic that it names, without that
//! header; any other goes to the first output. Within a topic the partition is that of its key, as every
//! Kafka client computes it, or the input's number.

use thalweg_client::partition_for_key;
use thalweg_record::Headers;
use thalweg_types::resource::OutputPartitioning;
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};

/// The header by which a module names the output topic of a record.
pub(super) const OUTPUT_HEADER: &str = "thalweg.output";
/// The header that counts the transforms that a record has gone through, where an output is an input as well.
pub(super) const HOPS_HEADER: &str = "thalweg.hops";
/// How many transforms a record may go through.
pub(super) const HOPS_MAX: u32 = 64;

/// A topic that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoutedTopic {
    pub(super) name: TopicName,
    /// How many of its partitions are written.
    pub(super) partition_count: usize,
    /// Whether other transforms read it, so that records count how often they went through one.
    pub(super) is_read: bool,
    /// Whether modules may name it.
    pub(super) is_output: bool,
    /// Whether it keeps the transform's state: of such a topic only the partition with the input's number is written.
    pub(super) is_changelog: bool,
}

/// The output partitions of a runner, numbered through.
#[derive(Debug, Clone)]
pub(super) struct Routes {
    topics: Vec<RoutedTopic>,
    /// The number of each topic's first partition.
    firsts: Vec<usize>,
    partitioning: OutputPartitioning,
    /// The input's partition.
    partition: usize,
}

/// Where a record goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Route {
    /// The number of the output partition.
    pub(super) output: usize,
    /// What the record's hops are to be; `None` where they are not counted.
    pub(super) hops: Option<u32>,
    /// Whether the record's headers are not those that it leaves the chain with.
    pub(super) changes_headers: bool,
}

/// A record that can go nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RouteError {
    #[error(
        "the record at offset {offset} gives one for `{topic}`, which is none of the transform's outputs ({outputs}): add it to them, or name another in the header `{OUTPUT_HEADER}`"
    )]
    NoSuchOutput {
        offset: Offset,
        topic: String,
        outputs: String,
    },
    #[error(
        "the record at offset {offset} has gone through {HOPS_MAX} transforms: they feed each other"
    )]
    TooManyHops { offset: Offset },
}

impl Routes {
    /// Routes from partition `partition` of an input to `topics`, of which the first is where records go that
    /// name none.
    pub(super) fn new(
        topics: Vec<RoutedTopic>,
        partitioning: OutputPartitioning,
        partition: PartitionIndex,
    ) -> Self {
        let mut firsts = Vec::with_capacity(topics.len());
        let mut next = 0;
        for topic in &topics {
            firsts.push(next);
            next += if topic.is_changelog {
                1
            } else {
                topic.partition_count
            };
        }
        Self {
            topics,
            firsts,
            partitioning,
            partition: usize::try_from(partition.0).unwrap_or(0),
        }
    }

    /// All output partitions, by their numbers, each with its topic's number.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (usize, TopicPartition)> + '_ {
        self.topics.iter().enumerate().flat_map(|(number, topic)| {
            let written = if topic.is_changelog {
                self.partition..self.partition + 1
            } else {
                0..topic.partition_count
            };
            written.map(move |index| {
                let partition = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
                let topic = topic.name.clone();
                (number, TopicPartition { topic, partition })
            })
        })
    }

    /// Where a record goes that left the chain at the input's `offset`.
    pub(super) fn route(
        &self,
        offset: Offset,
        key: Option<&[u8]>,
        headers: &Headers<'_>,
    ) -> Result<Route, RouteError> {
        let named = if headers.is_empty() {
            None
        } else {
            headers.last(OUTPUT_HEADER)
        };
        let topic = match &named {
            None => 0,
            Some(header) => self.named(offset, header.value.unwrap_or_default())?,
        };
        let hops = self.hops(topic, offset, headers)?;
        Ok(Route {
            output: self.partition_of(topic, key),
            hops,
            changes_headers: named.is_some() || hops.is_some(),
        })
    }

    /// The partition of topic `topic` for a record that no module routes.
    pub(super) fn partition_in(&self, topic: &TopicName, key: Option<&[u8]>) -> Option<usize> {
        let number = self.topics.iter().position(|known| known.name == *topic)?;
        Some(self.partition_of(number, key))
    }

    fn named(&self, offset: Offset, name: &[u8]) -> Result<usize, RouteError> {
        let is_it = |topic: &RoutedTopic| topic.is_output && topic.name.as_str().as_bytes() == name;
        self.topics
            .iter()
            .position(is_it)
            .ok_or_else(|| RouteError::NoSuchOutput {
                offset,
                topic: String::from_utf8_lossy(name).into_owned(),
                outputs: self.output_names(),
            })
    }

    fn output_names(&self) -> String {
        let outputs = self.topics.iter().filter(|topic| topic.is_output);
        let names: Vec<_> = outputs.map(|topic| format!("`{}`", topic.name)).collect();
        names.join(", ")
    }

    fn hops(
        &self,
        topic: usize,
        offset: Offset,
        headers: &Headers<'_>,
    ) -> Result<Option<u32>, RouteError> {
        if !self.topics[topic].is_read {
            return Ok(None);
        }
        let before = headers.last(HOPS_HEADER).and_then(|header| {
            let text = std::str::from_utf8(header.value?).ok()?;
            text.parse::<u32>().ok()
        });
        let hops = before.unwrap_or(0).saturating_add(1);
        if hops > HOPS_MAX {
            return Err(RouteError::TooManyHops { offset });
        }
        Ok(Some(hops))
    }

    fn partition_of(&self, topic: usize, key: Option<&[u8]>) -> usize {
        let count = self.topics[topic].partition_count.max(1);
        let within = match (self.partitioning, key) {
            (OutputPartitioning::Key, Some(key)) => partition_for_key(key, count),
            (OutputPartitioning::Key, None) | (OutputPartitioning::Preserve, _) => {
                self.partition % count
            }
        };
        self.firsts[topic] + within
    }
}

#[cfg(test)]
mod tests {
    use thalweg_record::{Batch, BatchBuilder, BatchOptions, Header};

    use super::*;

    fn routes(partitioning: OutputPartitioning) -> Routes {
        let topic = |name: &str, partition_count, is_read, is_output| RoutedTopic {
            name: name.parse().unwrap(),
            partition_count,
            is_read,
            is_output,
            is_changelog: name == "kept",
        };
        let topics = vec![
            topic("late", 4, false, true),
            topic("cancelled", 2, true, true),
            topic("failed", 1, false, false),
            topic("kept", 8, false, false),
        ];
        Routes::new(topics, partitioning, PartitionIndex(5))
    }

    /// Where a record with these headers goes.
    fn route(
        routes: &Routes,
        key: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<Route, RouteError> {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        batch.push(0, key, None, headers).unwrap();
        let bytes = batch.build().unwrap();
        let records = Batch::parse(&bytes).unwrap().records(0).unwrap();
        let record = records.iter().next().unwrap().unwrap();
        routes.route(Offset(9), record.key, &record.headers)
    }

    #[test]
    fn keys_go_where_every_kafka_client_sends_them_and_others_by_the_inputs_number() {
        let by_key = routes(OutputPartitioning::Key);
        let preserving = routes(OutputPartitioning::Preserve);

        let keyed = route(&by_key, Some(b"foobar"), &[]).unwrap();
        assert_eq!(keyed.output, partition_for_key(b"foobar", 4));
        assert_eq!(route(&by_key, None, &[]).unwrap().output, 1);
        assert_eq!(route(&preserving, Some(b"foobar"), &[]).unwrap().output, 1);
        assert!(!keyed.changes_headers);
    }

    #[test]
    fn a_module_names_the_topic_in_a_header() {
        let routes = routes(OutputPartitioning::Preserve);
        let named = |name: &'static [u8]| route(&routes, None, &[Header::new(OUTPUT_HEADER, name)]);

        let cancelled = named(b"cancelled").unwrap();
        assert_eq!((cancelled.output, cancelled.hops), (5, Some(1)));
        assert!(cancelled.changes_headers);
        let error = named(b"failed").unwrap_err().to_string();
        assert!(error.contains("(`late`, `cancelled`)"), "{error}");
    }

    #[test]
    fn records_that_went_through_too_many_transforms_go_no_further() {
        let routes = routes(OutputPartitioning::Preserve);
        let with_hops = |hops: &'static [u8]| {
            let output = Header::new(OUTPUT_HEADER, b"cancelled");
            route(&routes, None, &[output, Header::new(HOPS_HEADER, hops)])
        };

        assert_eq!(with_hops(b"63").unwrap().hops, Some(64));
        assert_eq!(
            with_hops(b"64"),
            Err(RouteError::TooManyHops { offset: Offset(9) })
        );
    }

    #[test]
    fn dead_letters_have_their_topic() {
        let routes = routes(OutputPartitioning::Key);

        assert_eq!(
            routes.partition_in(&"failed".parse().unwrap(), Some(b"k")),
            Some(6)
        );
        assert_eq!(routes.partition_in(&"nowhere".parse().unwrap(), None), None);
        let last = routes.partitions().last();
        let (_, last) = last.expect("there are outputs");
        assert_eq!(last.to_string(), "kept-5", "the input's number alone");
        assert_eq!(routes.partitions().count(), 8);
    }
}
