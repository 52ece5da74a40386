//! What one output partition is written by one runner: batches whose sequences are input positions. Pure.
//!
//! Records come in the order of the input records that gave them, and those of one input record together. What
//! the output is known to have is left out. A batch ends between two input records, so that its last sequence
//! says how far the output has come; only where one input record gives more than fits a batch does it end within,
//! behind a marker that says so (`docs/formats/record-batch.md`, Progress markers).

use bytes::Bytes;
use thalweg_record::{
    BATCH_HEADER_BYTES, BatchBuilder, BatchOptions, BuildError, Codec, Header, ProgressMarker,
    record_bytes_max,
};
use thalweg_types::{Follows, Offset, ProducerEpoch, ProducerId, TransformProgress, next_sequence};
use thalweg_wire::tags::OutputTag;

/// How large a batch becomes, where its topic allows that: one record alone may be larger.
const BATCH_BYTES: usize = 1 << 20;
/// How far sequences may count behind a marker, well below where they wrap.
const ADVANCE_MAX: i64 = 1 << 29;

/// A record for an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputRecord<'a> {
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: &'a [Header<'a>],
}

/// A batch to be appended as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedBatch {
    pub(super) bytes: Bytes,
    pub(super) output: OutputTag,
    /// How far the output has come before it.
    pub(super) from: Offset,
    /// How far it brings the output.
    pub(super) reaches: Offset,
    pub(super) is_marker: bool,
}

/// How a runner writes its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct WriterOptions {
    pub(super) producer_id: ProducerId,
    pub(super) producer_epoch: ProducerEpoch,
    /// What the output's topic allows.
    pub(super) batch_bytes_max: usize,
    pub(super) codec: Codec,
}

/// A record that no batch of the output's topic can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum WriteError {
    #[error(
        "the record at offset {offset} gives one of {record_bytes} bytes, more than the output's `max.message.bytes` of {limit_bytes}: raise it, or make smaller records"
    )]
    TooLarge {
        offset: Offset,
        record_bytes: usize,
        limit_bytes: usize,
    },
    #[error(
        "the records before input offset {position} changed {changed_bytes} bytes of what the transform keeps at once, more than a batch of its changelog holds ({limit_bytes}): keep smaller accumulators"
    )]
    StateTooLarge {
        position: Offset,
        changed_bytes: usize,
        limit_bytes: usize,
    },
    #[error("failed to make a batch of the output at offset {offset}: {reason}")]
    Build {
        offset: Offset,
        reason: &'static str,
    },
}

/// One output partition as a runner writes it.
#[derive(Debug)]
pub(super) struct OutputWriter {
    options: WriterOptions,
    last_sequence: i32,
    marker_sequence: i32,
    /// All that input below this gave is sealed.
    position: Offset,
    /// So many records are sealed as well of those that the input record at `position` gave.
    records_within: u32,
    /// Whether sequences count the latter now.
    is_within: bool,
    open: Option<OpenBatch>,
    sealed: Vec<SealedBatch>,
}

#[derive(Debug)]
struct OpenBatch {
    builder: BatchBuilder,
    /// Behind the input record of its last record.
    filled_to: Offset,
}

impl OutputWriter {
    /// Goes on behind `progress`; its first batch is the marker that says so, and follows what the output's
    /// leader knows of the producer.
    pub(super) fn begin(
        options: WriterOptions,
        progress: TransformProgress,
        follows: Follows,
        now_ms: i64,
    ) -> (Self, SealedBatch) {
        let TransformProgress {
            position,
            records_within,
        } = progress;
        let mut writer = Self {
            options,
            last_sequence: -1,
            marker_sequence: -1,
            position,
            records_within,
            is_within: false,
            open: None,
            sealed: Vec::new(),
        };
        let within = (records_within > 0).then_some(records_within);
        writer.seal_marker(position, within, now_ms);
        let mut first = writer.sealed.pop().expect("a marker was sealed");
        first.output.follows = follows;
        (writer, first)
    }

    /// The epoch that it writes in.
    pub(super) fn producer_epoch(&self) -> ProducerEpoch {
        self.options.producer_epoch
    }

    /// How far the output comes with what is sealed.
    pub(super) fn position(&self) -> Offset {
        self.position
    }

    /// Takes in what the input record at `offset` gave for this output, if the output lacks it.
    pub(super) fn push(
        &mut self,
        offset: Offset,
        records: &[OutputRecord<'_>],
        now_ms: i64,
    ) -> Result<(), WriteError> {
        if offset < self.position {
            return Ok(());
        }
        let known = if offset == self.position {
            usize::try_from(self.records_within).unwrap_or(usize::MAX)
        } else {
            0
        };
        let Some(records) = records.get(known.min(records.len())..) else {
            return Ok(());
        };
        if self.is_within && offset > self.position {
            self.end_within(now_ms);
        }
        if records.is_empty() {
            return Ok(());
        }
        let bytes: usize = records.iter().map(OutputRecord::bytes_max).sum();
        let open_bytes = self
            .open
            .as_ref()
            .map_or(BATCH_HEADER_BYTES, OpenBatch::bytes);
        if open_bytes + bytes > self.batch_bytes() {
            self.close_open()?;
        }
        if self.is_within || bytes + BATCH_HEADER_BYTES > self.options.batch_bytes_max {
            return self.push_within(offset, records, now_ms);
        }
        if self.open.is_none() && offset.0 - self.position.0 > ADVANCE_MAX
            || self.sequences_since_marker() > ADVANCE_MAX
        {
            self.close_open()?;
            self.seal_marker(offset.max(self.position), None, now_ms);
        }
        let options = self.options;
        let open = self.open.get_or_insert_with(|| OpenBatch {
            builder: builder(&options),
            filled_to: offset,
        });
        for record in records {
            open.push(record)
                .map_err(|error| build_error(offset, error))?;
        }
        open.filled_to = offset.next();
        Ok(())
    }

    /// All that input below `until` gave has been pushed: gives what is to be appended, in order.
    pub(super) fn seal(
        &mut self,
        until: Offset,
        now_ms: i64,
    ) -> Result<Vec<SealedBatch>, WriteError> {
        if self.is_within && until > self.position {
            self.end_within(now_ms);
        }
        if let Some(open) = &mut self.open {
            open.filled_to = open.filled_to.max(until);
            self.close_open()?;
        }
        Ok(std::mem::take(&mut self.sealed))
    }

    /// A marker that the output has all that input below `until` gave, which has been sealed.
    pub(super) fn mark(&mut self, until: Offset, now_ms: i64) -> SealedBatch {
        assert!(self.open.is_none(), "what was pushed is sealed first");
        self.seal_marker(until.max(self.position), None, now_ms);
        self.sealed.pop().expect("a marker was sealed")
    }

    /// The largest batch that its topic takes.
    pub(super) fn batch_bytes_max(&self) -> usize {
        self.options.batch_bytes_max
    }

    /// Says once more where the output is, long before sequences have counted too far for the next batch.
    pub(super) fn renew_marker(&mut self, now_ms: i64) {
        if self.sequences_since_marker() > ADVANCE_MAX / 2 {
            self.seal_marker(self.position, None, now_ms);
        }
    }

    fn batch_bytes(&self) -> usize {
        self.options.batch_bytes_max.min(BATCH_BYTES)
    }

    fn sequences_since_marker(&self) -> i64 {
        let since = i64::from(self.last_sequence) - i64::from(self.marker_sequence);
        since.rem_euclid(1 << 31)
    }

    /// What one input record gives is more than one batch: several, behind a marker that says so.
    fn push_within(
        &mut self,
        offset: Offset,
        records: &[OutputRecord<'_>],
        now_ms: i64,
    ) -> Result<(), WriteError> {
        self.close_open()?;
        if !self.is_within {
            self.seal_marker(offset, Some(0), now_ms);
        }
        let mut batch = builder(&self.options);
        for record in records {
            let bytes = record.bytes_max();
            if batch.size_bytes() + bytes > self.batch_bytes() && !batch.is_empty() {
                let full = std::mem::replace(&mut batch, builder(&self.options));
                self.seal_within(full)?;
            }
            if BATCH_HEADER_BYTES + bytes > self.options.batch_bytes_max {
                return Err(WriteError::TooLarge {
                    offset,
                    record_bytes: bytes,
                    limit_bytes: self.options.batch_bytes_max,
                });
            }
            push_to(&mut batch, record).map_err(|error| build_error(offset, error))?;
        }
        if !batch.is_empty() {
            self.seal_within(batch)?;
        }
        self.end_within(now_ms);
        Ok(())
    }

    fn seal_within(&mut self, batch: BatchBuilder) -> Result<(), WriteError> {
        let count = batch.record_count();
        self.records_within += count.cast_unsigned();
        let position = self.position;
        self.seal_batch(batch, count, position)
    }

    /// All is sealed of what the input record at `position` gave.
    fn end_within(&mut self, now_ms: i64) {
        self.seal_marker(self.position.next(), None, now_ms);
    }

    fn close_open(&mut self) -> Result<(), WriteError> {
        let Some(OpenBatch { builder, filled_to }) = self.open.take() else {
            return Ok(());
        };
        let advance = filled_to.0 - self.position.0;
        let advance = i32::try_from(advance).expect("a marker was put in where it is far");
        self.seal_batch(builder, advance, filled_to)?;
        self.position = filled_to;
        self.records_within = 0;
        Ok(())
    }

    /// Seals a batch that takes `sequences` sequences, however many records it has.
    fn seal_batch(
        &mut self,
        mut batch: BatchBuilder,
        sequences: i32,
        reaches: Offset,
    ) -> Result<(), WriteError> {
        let follows = self.follows();
        let first_sequence = next_sequence(self.last_sequence, 1);
        self.last_sequence = next_sequence(self.last_sequence, sequences);
        let base_sequence = next_sequence(self.last_sequence, 1 - batch.record_count());
        let WriterOptions {
            producer_id,
            producer_epoch,
            ..
        } = self.options;
        batch.set_sequence(producer_id, producer_epoch, base_sequence);
        let bytes = batch.build().map_err(|error| build_error(reaches, error))?;
        self.sealed.push(SealedBatch {
            bytes: Bytes::from(bytes),
            output: OutputTag {
                first_sequence,
                follows,
            },
            from: self.position,
            reaches,
            is_marker: false,
        });
        Ok(())
    }

    fn seal_marker(&mut self, position: Offset, within: Option<u32>, now_ms: i64) {
        let follows = self.follows();
        let sequence = next_sequence(self.last_sequence, 1);
        let marker = ProgressMarker {
            producer_id: self.options.producer_id,
            producer_epoch: self.options.producer_epoch,
            sequence,
            position,
            records_within: within,
        };
        let bytes = marker.encode(now_ms);
        let bytes = bytes.expect("no batch has more records than a batch has offsets");
        let from = self.position;
        self.records_within = within.unwrap_or(0);
        let advance = self.records_within.cast_signed();
        self.last_sequence = next_sequence(sequence, advance);
        self.marker_sequence = sequence;
        self.position = position;
        self.is_within = within.is_some();
        self.sealed.push(SealedBatch {
            bytes: Bytes::from(bytes),
            output: OutputTag {
                first_sequence: sequence,
                follows,
            },
            from,
            reaches: position,
            is_marker: true,
        });
    }

    /// Every batch says what it follows, so that none is appended where the output has lost the one before.
    fn follows(&self) -> Follows {
        Follows::Batch {
            producer_epoch: self.options.producer_epoch,
            last_sequence: self.last_sequence,
        }
    }
}

impl OpenBatch {
    fn bytes(&self) -> usize {
        self.builder.size_bytes()
    }

    fn push(&mut self, record: &OutputRecord<'_>) -> Result<(), BuildError> {
        push_to(&mut self.builder, record)
    }
}

impl OutputRecord<'_> {
    pub(super) fn bytes_max(&self) -> usize {
        record_bytes_max(self.key, self.value, self.headers)
    }
}

fn push_to(batch: &mut BatchBuilder, record: &OutputRecord<'_>) -> Result<(), BuildError> {
    batch.push(
        record.timestamp_ms,
        record.key,
        record.value,
        record.headers,
    )
}

fn builder(options: &WriterOptions) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        codec: options.codec,
        ..BatchOptions::default()
    })
}

fn build_error(offset: Offset, error: BuildError) -> WriteError {
    let reason = match error {
        BuildError::TooLarge { .. } => "it is too large",
        BuildError::TooManyRecords => "it has too many records",
        _ => "its records are out of order",
    };
    WriteError::Build { offset, reason }
}

#[cfg(test)]
mod tests;
