//! What the aggregate of one partition's stream has come to, as its producer keeps it.
//!
//! The leader's answers bring it, batch by batch. It is handed back with the first batch after
//! anything went wrong, so that a new stream, wherever it is, goes on from the last batch that was
//! acknowledged in order. Where there are SmartModules nobody here knows whether one is an aggregate;
//! a leader ignores accumulators that it has no use for.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_wire::tags::{self, TaggedFields};
use thalweg_wire::{KeyedAccumulators, StreamId};

use super::ProducerOptions;
use super::link::Link;
use crate::Accumulators;
use crate::data::Connection;

/// What the aggregate of one partition's stream has come to.
#[derive(Debug)]
pub(crate) struct Accumulation {
    /// What it began with.
    initial: Bytes,
    is_by_key: bool,
    /// After the last batch that was acknowledged in order.
    known: Accumulators,
    /// The stream that goes on from the batch sent last.
    stands: Option<(Arc<Connection>, StreamId)>,
}

/// The batch can't be sent before those that come before it are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotInTurn;

impl Accumulation {
    /// `None` where the producer has no SmartModules.
    pub(crate) fn of(options: &ProducerOptions) -> Option<Self> {
        (!options.smartmodules.is_empty()).then(|| Self {
            initial: options.accumulator.clone().unwrap_or_default(),
            is_by_key: options.accumulate_by_key,
            known: Accumulators::None,
            stands: None,
        })
    }

    /// Puts into the fields of a batch what its stream needs to go on from, if that is anything.
    /// `is_oldest` says that every batch before it is settled.
    pub(crate) fn hand_back(
        &mut self,
        link: &Link,
        is_oldest: bool,
        fields: &mut TaggedFields,
    ) -> Result<(), NotInTurn> {
        let Some(stream) = link.stream else {
            return Ok(());
        };
        let stands = self.stands.as_ref().is_some_and(|(connection, id)| {
            *id == stream && Arc::ptr_eq(connection, &link.connection)
        });
        if stands {
            return Ok(());
        }
        // Of those before it nobody knows what they will have come to.
        if !is_oldest {
            return Err(NotInTurn);
        }
        self.stands = Some((Arc::clone(&link.connection), stream));
        match &self.known {
            Accumulators::ByKey(by_key) => tags::set_keyed_accumulators(fields, by_key),
            Accumulators::Partition(accumulator) => {
                tags::set_accumulator(fields, accumulator.clone());
            }
            Accumulators::None if self.is_by_key => {
                tags::set_keyed_accumulators(fields, &KeyedAccumulators::new());
            }
            Accumulators::None => tags::set_accumulator(fields, self.initial.clone()),
        }
        Ok(())
    }

    /// Takes in what an acknowledged batch changed. Every batch before it is settled.
    pub(crate) fn acknowledged(&mut self, change: Accumulators) {
        self.known.apply(change);
    }

    /// Notes that the stream may not stand where it was thought to.
    pub(crate) fn lost(&mut self) {
        self.stands = None;
    }
}
