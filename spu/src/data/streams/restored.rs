//! What an aggregate goes on with, and how it travels: in the tagged fields of a partition.

use bytes::Bytes;
use thalweg_smartengine::ChainOutput;
use thalweg_wire::tags::{self, TaggedFields};
use thalweg_wire::{KafkaError, KeyedAccumulators, MODULE_REFUSED};

use crate::data::refusal::Refusal;

/// What an aggregate goes on with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::data) enum Restored {
    /// What the stream was opened with, or nothing is known.
    #[default]
    Nothing,
    /// One accumulator for the partition.
    Partition(Bytes),
    /// One for each key.
    ByKey(KeyedAccumulators),
}

impl Restored {
    /// What the client has of an aggregate.
    pub(in crate::data) fn of_fields(fields: &TaggedFields) -> Result<Self, Refusal> {
        let by_key = tags::keyed_accumulators(fields)
            .map_err(|reason| Refusal::new(KafkaError::Unknown(MODULE_REFUSED), reason))?;
        let of_partition = tags::accumulator(fields).map(Self::Partition);
        Ok(by_key.map(Self::ByKey).or(of_partition).unwrap_or_default())
    }

    /// Tells the client.
    pub(in crate::data) fn set_in(self, fields: &mut TaggedFields) {
        match self {
            Self::Nothing => {}
            Self::Partition(accumulator) => tags::set_accumulator(fields, accumulator),
            Self::ByKey(by_key) => tags::set_keyed_accumulators(fields, &by_key),
        }
    }

    /// What an output has come to: by key, what it changed.
    pub(super) fn of_output(is_by_key: bool, output: ChainOutput) -> Self {
        if is_by_key {
            let changed = output.accumulators.into_iter();
            let changed = changed.map(|(key, value)| (key.map(Bytes::from), Bytes::from(value)));
            return Self::ByKey(changed.collect());
        }
        let accumulator = output.accumulator.map(Bytes::from);
        accumulator.map_or(Self::Nothing, Self::Partition)
    }

    /// Takes in what has changed since.
    pub(in crate::data) fn extend(&mut self, changed: Self) {
        match (self, changed) {
            (_, Self::Nothing) => {}
            (Self::ByKey(by_key), Self::ByKey(changed)) => by_key.extend(changed),
            (before, changed) => *before = changed,
        }
    }

    pub(in crate::data) fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Partition(_) => false,
            Self::ByKey(by_key) => by_key.is_empty(),
        }
    }

    /// How large it is, keys included, in bytes.
    pub(in crate::data) fn size_bytes(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Partition(accumulator) => accumulator.len(),
            Self::ByKey(by_key) => by_key
                .iter()
                .map(|(key, value)| key.as_ref().map_or(0, Bytes::len) + value.len())
                .sum(),
        }
    }
}
