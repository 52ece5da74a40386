//! Records that a step failed on and that the chain went on without.

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{RawRecord, read_record};
use thalweg_types::{Offset, TimestampType};

use crate::chain_error::malformed;
use crate::{ChainError, OnFailure};

/// A record that a step failed on, under [`OnFailure::Skip`] or [`OnFailure::DeadLetter`].
///
/// There is one for each offset and step, also where an earlier step had made several records of
/// the offset and more than one of them failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedRecord {
    /// Which step of the chain failed, from 0.
    pub step: usize,
    /// The offset of the input record.
    pub offset: Offset,
    /// What the guest said, or how it crashed.
    pub message: String,
    /// The record of the input batch, as it was before the chain; under
    /// [`OnFailure::DeadLetter`] alone.
    pub original: Option<OriginalRecord>,
}

/// A record of the input batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginalRecord {
    /// Milliseconds since 1970.
    pub timestamp_ms: i64,
    /// The key, if there is one.
    pub key: Option<Vec<u8>>,
    /// The value; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers' names and values, in order.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl OriginalRecord {
    fn of(header: &BatchHeader, record: &RawRecord<'_>) -> Self {
        let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
        Self {
            timestamp_ms: match header.timestamp_type() {
                TimestampType::CreateTime => header
                    .base_timestamp_ms
                    .wrapping_add(record.timestamp_delta),
                TimestampType::LogAppendTime => header.max_timestamp_ms,
            },
            key: owned(record.key),
            value: owned(record.value),
            headers: record
                .headers
                .iter()
                .map(|header| (header.name.to_vec(), owned(header.value)))
                .collect(),
        }
    }
}

/// A failure within a batch that the chain is at.
#[derive(Debug, Clone)]
pub(crate) struct Failing {
    pub(crate) step: usize,
    pub(crate) offset_delta: i64,
    pub(crate) message: String,
}

/// Gives failures the form that a host gets: those below `end`, one for each offset and step, with
/// the records of `section`, the input batch's.
pub(crate) fn failed_records(
    mut failing: Vec<Failing>,
    end: i64,
    header: &BatchHeader,
    section: &[u8],
    policy_of: impl Fn(usize) -> OnFailure,
) -> Result<Vec<FailedRecord>, ChainError> {
    failing.retain(|failing| failing.offset_delta < end);
    failing.sort_by_key(|failing| (failing.offset_delta, failing.step));
    failing.dedup_by_key(|failing| (failing.offset_delta, failing.step));
    let mut originals = Originals {
        header,
        section,
        position: 0,
        current: None,
    };
    failing
        .into_iter()
        .map(|failing| {
            let original = match policy_of(failing.step) {
                OnFailure::DeadLetter => Some(originals.at(failing.offset_delta)?),
                OnFailure::Skip | OnFailure::Stop => None,
            };
            Ok(FailedRecord {
                step: failing.step,
                offset: header.base_offset.plus(failing.offset_delta),
                message: failing.message,
                original,
            })
        })
        .collect()
}

/// The records of the input batch, looked up by rising offset deltas in one walk.
struct Originals<'a> {
    header: &'a BatchHeader,
    section: &'a [u8],
    position: usize,
    current: Option<RawRecord<'a>>,
}

impl Originals<'_> {
    fn at(&mut self, offset_delta: i64) -> Result<OriginalRecord, ChainError> {
        loop {
            if let Some(record) = &self.current
                && record.offset_delta >= offset_delta
            {
                return Ok(OriginalRecord::of(self.header, record));
            }
            let record = read_record(self.section, &mut self.position).map_err(|_| malformed(0))?;
            self.current = Some(record);
        }
    }
}
