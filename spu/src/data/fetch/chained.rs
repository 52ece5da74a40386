//! A partition's records through a chain of SmartModules.
//!
//! The chain runs on the engine's guest threads, a piece of the log at a time, and what it puts
//! out gathers here until the answer is sent. However little passes, the answer says where to go
//! on: nothing is skipped, and nothing is seen twice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::messages::fetch_request::FetchPartition;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{
    FailedRecords, KafkaError, KeyedAccumulators, STREAM_FAILED, StreamFailure, StreamId,
    StreamPurpose, tags,
};

use super::{Found, Records, Wait, leader, plain, size, with_ends};
use crate::data::refusal::Refusal;
use crate::data::router::Router;
use crate::data::streams::{Position, Progress, Restored, Work, add_counts};
use crate::replica::Replica;

/// How the chain came to an end.
#[derive(Debug)]
enum End {
    Refused(Refusal),
    Failed(StreamFailure),
}

/// One partition's way through its stream during one fetch.
#[derive(Debug)]
pub(super) struct ChainedFetch {
    stream: StreamId,
    /// Where the client asked to begin.
    from: Offset,
    /// Where to go on.
    next_offset: Offset,
    /// What has come out so far, a piece for each time that the chain ran.
    output: Vec<Bytes>,
    output_bytes: usize,
    accumulator: Option<Bytes>,
    /// Those by key that have changed.
    accumulators: KeyedAccumulators,
    accumulators_bytes: usize,
    /// Records that were left out.
    failed: Vec<FailedRecords>,
    /// Where the client wants no more.
    stop: Option<Offset>,
    /// The chain stands where the log ended when it was read.
    is_at_end: bool,
    /// As much has come out as the client wants.
    is_full: bool,
    end: Option<End>,
}

impl ChainedFetch {
    /// `None` where the partition names no stream.
    pub(super) fn of(asked: &FetchPartition) -> Option<Self> {
        let stream = tags::stream_id(&asked.unknown_tagged_fields)?;
        let from = Offset(asked.fetch_offset);
        Some(Self {
            stream,
            from,
            next_offset: from,
            output: Vec::new(),
            output_bytes: 0,
            is_full: false,
            accumulator: None,
            accumulators: KeyedAccumulators::new(),
            accumulators_bytes: 0,
            failed: Vec::new(),
            stop: tags::stop_offset(&asked.unknown_tagged_fields),
            is_at_end: false,
            end: None,
        })
    }

    /// How much has come out so far, in bytes.
    pub(super) fn output_bytes(&self) -> usize {
        self.output_bytes
    }

    /// Whether the client wants no more. It does not ask again, and there is nothing to wait for.
    fn has_stopped(&self) -> bool {
        self.stop.is_some_and(|stop| self.next_offset >= stop)
    }

    /// Puts some more of the log through the chain, until about `share` bytes have come out or
    /// `deadline` is over.
    pub(super) async fn advance(
        &mut self,
        router: &Router,
        topic: &TopicName,
        asked: &FetchPartition,
        share: usize,
        deadline: Duration,
    ) {
        let held_bytes = self.output_bytes + self.accumulators_bytes;
        let room = size(asked.partition_max_bytes)
            .saturating_sub(held_bytes)
            .min(share);
        self.is_full = (room == 0 && held_bytes > 0) || self.has_stopped();
        if self.end.is_some() || self.is_full {
            return;
        }
        match self.try_advance(router, topic, asked, room, deadline).await {
            Ok(progress) => self.take(progress),
            // What came out before is answered first; the next fetch meets the refusal again.
            Err(_) if self.next_offset > self.from => self.is_at_end = true,
            Err(refusal) => self.end = Some(End::Refused(refusal)),
        }
    }

    async fn try_advance(
        &self,
        router: &Router,
        topic: &TopicName,
        asked: &FetchPartition,
        room: usize,
        deadline: Duration,
    ) -> Result<Progress, Refusal> {
        let replica = leader(&router.shared, topic, asked)?;
        plain::check_range(replica.log(), self.next_offset)?;
        let until = replica.high_watermark();
        if self.next_offset >= until {
            return Ok(Progress::at_end(self.next_offset));
        }
        let stream = router.streams.get(self.stream, StreamPurpose::Consume)?;
        let restored = if self.next_offset == self.from {
            Restored::of_fields(&asked.unknown_tagged_fields)?
        } else {
            // Those by key are with the chain.
            let accumulator = self.accumulator.clone();
            accumulator.map_or(Restored::Nothing, Restored::Partition)
        };
        stream
            .run(
                &router.shared,
                (topic.clone(), PartitionIndex(asked.partition)),
                Work {
                    log: Arc::clone(replica.log()),
                    begin: Position {
                        offset: self.next_offset,
                        restored,
                    },
                    until,
                    stop: self.stop,
                    output_bytes_max: room,
                    deadline,
                },
            )
            .await
    }

    fn take(&mut self, progress: Progress) {
        self.output_bytes += progress.output.iter().map(Bytes::len).sum::<usize>();
        self.output.extend(progress.output);
        self.next_offset = progress.next_offset;
        self.is_at_end = progress.is_at_end;
        if progress.accumulator.is_some() {
            self.accumulator = progress.accumulator;
        }
        let changed = progress.accumulators;
        self.accumulators_bytes += changed
            .iter()
            .map(|(key, value)| key.as_ref().map_or(0, Bytes::len) + value.len())
            .sum::<usize>();
        self.accumulators.extend(changed);
        add_counts(&mut self.failed, progress.failed);
        match progress.failure {
            // What came out before is answered first; the next fetch meets the failure again.
            Some(_) if self.next_offset > self.from => self.is_at_end = true,
            Some(failure) => self.end = Some(End::Failed(failure)),
            None => {}
        }
    }

    /// What there is to answer now.
    pub(super) fn found(&self, replica: Arc<Replica>, data: PartitionData) -> Found {
        let high_watermark = replica.high_watermark();
        let mut data = with_ends(data, &replica, high_watermark);
        match &self.end {
            None => {}
            Some(End::Refused(refusal)) => {
                data = data.with_error_code(refusal.code());
                let failure = StreamFailure {
                    step: String::new(),
                    offset: None,
                    key: None,
                    message: refusal.message.clone(),
                };
                tags::set_stream_failure(&mut data.unknown_tagged_fields, &failure);
            }
            Some(End::Failed(failure)) => {
                data = data.with_error_code(STREAM_FAILED);
                tags::set_stream_failure(&mut data.unknown_tagged_fields, failure);
            }
        }
        let out_of_range = matches!(
            &self.end,
            Some(End::Refused(refusal)) if refusal.error == KafkaError::OffsetOutOfRange
        );
        if !out_of_range {
            tags::set_resume_offset(&mut data.unknown_tagged_fields, self.next_offset);
        }
        if let Some(accumulator) = &self.accumulator {
            tags::set_accumulator(&mut data.unknown_tagged_fields, accumulator.clone());
        }
        if !self.accumulators.is_empty() {
            tags::set_keyed_accumulators(&mut data.unknown_tagged_fields, &self.accumulators);
        }
        if !self.failed.is_empty() {
            tags::set_failed_records(&mut data.unknown_tagged_fields, &self.failed);
        }
        Found {
            data,
            records: match self.output_bytes {
                0 => Records::None,
                _ => Records::InMemory(self.output.clone()),
            },
            // Once it has come to the end of the log there is nothing to wait for: also where
            // nothing passed the client wants to know how far that was.
            is_final: self.end.is_some()
                || self.is_full
                || (self.is_at_end && self.next_offset > self.from),
            has_more: self.end.is_none() && !self.is_at_end,
            wait: Some(Wait::Committed(replica, self.next_offset)),
        }
    }
}
