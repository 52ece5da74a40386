//! What members of a group tell each other by way of the coordinator, which does not look into it:
//! Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`.
//!
//! They come from other members, and no length in them is believed.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// The version that is written, the first to name the generation (KIP-792).
const SUBSCRIPTION_VERSION: i16 = 2;
/// The version of assignments that is written.
const ASSIGNMENT_VERSION: i16 = 1;
/// A generation that is not known.
const NO_GENERATION: i32 = -1;

/// Partitions by their topics.
pub(crate) type TopicPartitions = BTreeMap<String, BTreeSet<i32>>;

/// What one member reads, and has at present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    pub(super) topics: BTreeSet<String>,
    pub(super) owned: TopicPartitions,
    /// Of the group, when it got what it has.
    pub(super) generation: i32,
}

impl Default for Subscription {
    fn default() -> Self {
        Self {
            topics: BTreeSet::new(),
            owned: TopicPartitions::new(),
            generation: NO_GENERATION,
        }
    }
}

impl Subscription {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(SUBSCRIPTION_VERSION);
        put_count(&mut out, self.topics.len());
        for topic in &self.topics {
            put_text(&mut out, topic);
        }
        // No user data.
        out.put_i32(-1);
        put_partitions(&mut out, &self.owned);
        out.put_i32(self.generation);
        out.freeze()
    }

    /// `None` for what is no subscription.
    pub(super) fn decode(mut bytes: Bytes) -> Option<Self> {
        let version = bytes.try_get_i16().ok()?;
        let count = bytes.try_get_i32().ok()?;
        let mut topics = BTreeSet::new();
        for _ in 0..count {
            topics.insert(take_text(&mut bytes)?);
        }
        skip_user_data(&mut bytes)?;
        let owned = match version {
            ..1 => TopicPartitions::new(),
            1.. => take_partitions(&mut bytes)?,
        };
        let generation = match version {
            ..2 => NO_GENERATION,
            2.. => bytes.try_get_i32().ok()?,
        };
        Some(Self {
            topics,
            owned,
            generation,
        })
    }
}

/// What a member is to read.
pub(super) fn encode_assignment(assigned: &TopicPartitions) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i16(ASSIGNMENT_VERSION);
    put_partitions(&mut out, assigned);
    out.put_i32(-1);
    out.freeze()
}

/// What [`encode_assignment`] wrote, or another client; `None` for what is no assignment. A member that
/// gets nothing may be told so by no bytes at all.
pub(crate) fn decode_assignment(mut bytes: Bytes) -> Option<TopicPartitions> {
    if bytes.is_empty() {
        return Some(TopicPartitions::new());
    }
    bytes.try_get_i16().ok()?;
    take_partitions(&mut bytes)
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).expect("a group reads fewer than 2^31 topics and partitions"));
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).expect("a topic's name has at most 249 bytes"));
    out.put_slice(text.as_bytes());
}

fn put_partitions(out: &mut BytesMut, partitions: &TopicPartitions) {
    put_count(out, partitions.len());
    for (topic, indexes) in partitions {
        put_text(out, topic);
        put_count(out, indexes.len());
        for index in indexes {
            out.put_i32(*index);
        }
    }
}

fn take_text(bytes: &mut Bytes) -> Option<String> {
    let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
    (length <= bytes.len())
        .then(|| bytes.split_to(length))
        .and_then(|text| String::from_utf8(text.into()).ok())
}

fn take_partitions(bytes: &mut Bytes) -> Option<TopicPartitions> {
    let mut partitions = TopicPartitions::new();
    for _ in 0..bytes.try_get_i32().ok()? {
        let topic = take_text(bytes)?;
        let indexes: &mut BTreeSet<i32> = partitions.entry(topic).or_default();
        for _ in 0..bytes.try_get_i32().ok()? {
            indexes.insert(bytes.try_get_i32().ok()?);
        }
    }
    Some(partitions)
}

fn skip_user_data(bytes: &mut Bytes) -> Option<()> {
    let length = usize::try_from(bytes.try_get_i32().ok()?).unwrap_or(0);
    (length <= bytes.len()).then(|| bytes.advance(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owned() -> TopicPartitions {
        TopicPartitions::from([
            ("flights".to_owned(), BTreeSet::from([0, 7])),
            ("orders".to_owned(), BTreeSet::new()),
        ])
    }

    #[test]
    fn what_is_written_is_read() {
        let subscription = Subscription {
            topics: BTreeSet::from(["flights".to_owned(), "orders".to_owned()]),
            owned: owned(),
            generation: 41,
        };

        assert_eq!(
            Subscription::decode(subscription.encode()),
            Some(subscription)
        );
        assert_eq!(
            decode_assignment(encode_assignment(&owned())),
            Some(owned())
        );
        assert_eq!(
            decode_assignment(Bytes::new()),
            Some(TopicPartitions::new())
        );
    }

    #[test]
    fn subscriptions_of_the_first_version_own_nothing() {
        // As kafka-python writes them.
        let bytes = b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff";

        let subscription = Subscription::decode(Bytes::from_static(bytes)).unwrap();

        assert_eq!(subscription.topics, BTreeSet::from(["t".to_owned()]));
        assert_eq!(
            (subscription.owned, subscription.generation),
            (TopicPartitions::new(), -1)
        );
    }

    proptest! {
        #[test]
        fn garbage_is_refused_and_takes_no_memory(bytes: Vec<u8>) {
            let _ = Subscription::decode(bytes.clone().into());
            let _ = decode_assignment(bytes.into());
        }
    }
}
