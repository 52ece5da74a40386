//! Appends: what waits in the queue is planned, written with one vectored write, and answered.
//!
//! Of each batch only the bytes that the leader sets come from a small buffer, everything else
//! straight from the request's bytes. Planning decides offsets, sequences and refusals before
//! anything is written; a write that fails is cut off again and its plan undone, so that the log
//! is as it was.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::{BatchHeader, ProgressMarker, batch_prefix, batches};
use thalweg_types::{Durability, Follows, LeaderEpoch, TimestampType};

use super::Log;
use super::group::{Finished, Group, Mark, Outcome, is_disk_full, sealed_header};
use crate::batch_walk::BATCH_BYTES_MAX;
use crate::files::{LogFile, write_all};
use crate::locks::{lock, write};
use crate::producer_state::Verdict;
use crate::segment::Segment;
use crate::{Append, AppendError, Appended, FollowerAppend, ProducerSequences};

/// What the writer keeps from one write to the next.
#[derive(Default)]
pub(super) struct WriterState {
    /// When the active segment took its first batch.
    pub(super) active_since_ms: Option<i64>,
    /// Reused from group to group.
    prefixes: Vec<u8>,
}

impl Log {
    /// Writes the next group of the queue. Called on a writer thread; returns whether there is
    /// more.
    pub(crate) fn write_queued(self: &Arc<Self>) -> bool {
        let finished = self.write_group(&mut lock(&self.writer));
        self.finish(finished);
        lock(&self.queue).has_more()
    }

    /// Writes all that is queued. What comes back must be given to `finish` without the lock.
    pub(super) fn write_all_queued(self: &Arc<Self>, writer: &mut WriterState) -> Vec<Finished> {
        let mut finished = Vec::new();
        while !lock(&self.queue).is_empty() {
            finished.push(self.write_group(writer));
        }
        finished
    }

    /// Appends what a follower fetched, before it returns: offsets and epochs are as the leader
    /// set them. Batches before one that is refused stay appended.
    ///
    /// # Errors
    /// When a batch is damaged, does not begin at the log's end or has an older epoch than the
    /// log's, or as a write fails.
    pub fn append_as_follower(
        self: &Arc<Self>,
        append: FollowerAppend,
    ) -> Result<Appended, AppendError> {
        let (result, finished) = {
            let mut writer = lock(&self.writer);
            let mut group = self.begin_group(&mut writer);
            let base_offset = group.end.next_offset;
            let result = self
                .plan_as_follower(&append, &mut group)
                .and_then(|()| self.flush(&mut group))
                .map(|()| Appended {
                    base_offset,
                    next_offset: group.end.next_offset,
                    log_append_time_ms: None,
                    duplicate: false,
                });
            (result, self.end_group(group, &mut writer))
        };
        self.finish(finished);
        result
    }

    /// Tells everybody what became of a group. Called without a lock.
    pub(super) fn finish(self: &Arc<Self>, finished: Finished) {
        for outcome in finished.outcomes {
            (outcome.done)(outcome.result);
        }
        if finished.has_written {
            self.tell_progress();
        }
        if finished.needs_sync {
            self.schedule_sync();
        }
        if finished.has_failed {
            self.tell_failure();
        }
    }

    pub(super) fn write_group(self: &Arc<Self>, writer: &mut WriterState) -> Finished {
        let appends = lock(&self.queue).take_group();
        let mut group = self.begin_group(writer);
        for append in appends {
            let result = self.append_to(&append, &mut group);
            group.finished.outcomes.push(Outcome {
                done: append.done,
                result,
            });
        }
        // An error has already been given to the appends that it concerns.
        let _ = self.flush(&mut group);
        self.end_group(group, writer)
    }

    fn begin_group(&self, writer: &mut WriterState) -> Group {
        let segment = self.active_segment();
        let tail = segment.tail();
        Group {
            segment,
            options: self.options(),
            start: tail,
            end: tail,
            prefixes: std::mem::take(&mut writer.prefixes),
            planned: Vec::new(),
            undo: Vec::new(),
            has_rolled: false,
            now_ms: 0,
            pending_from: 0,
            finished: Finished::default(),
        }
    }

    fn end_group(&self, group: Group, writer: &mut WriterState) -> Finished {
        if group.has_rolled {
            writer.active_since_ms = None;
        }
        if group.finished.has_written {
            writer.active_since_ms.get_or_insert(group.now_ms);
        }
        writer.prefixes = group.prefixes;
        group.finished
    }

    fn append_to(
        self: &Arc<Self>,
        append: &Append,
        group: &mut Group,
    ) -> Result<Appended, AppendError> {
        if let Some(reason) = self.out_reason() {
            return Err(AppendError::Failed { reason });
        }
        self.make_room(append.batches.len() as u64, group)?;
        self.enter_epoch(append.leader_epoch, group)?;
        group.now_ms = append.now_ms;

        let mark = group.mark();
        let result = self.plan(append, group);
        if result.is_err() {
            self.rewind(group, &mark);
        }
        result
    }

    /// Rolls to a new segment when the active one would get too large.
    fn make_room(
        self: &Arc<Self>,
        append_bytes: u64,
        group: &mut Group,
    ) -> Result<(), AppendError> {
        let end = group.end;
        let offsets = end.next_offset.0 - group.segment.base_offset().0;
        let is_full = end.len_bytes + append_bytes > group.options.segment_bytes
            || offsets > i64::from(i32::MAX);
        if end.len_bytes == 0 || !is_full {
            return Ok(());
        }
        self.flush(group)?;
        group.segment = self.roll().map_err(|error| self.explain(&error))?;
        group.start = group.segment.tail();
        group.end = group.start;
        group.has_rolled = true;
        Ok(())
    }

    /// Begins a new segment at the log's end. The caller holds `writer`.
    pub(super) fn roll(self: &Arc<Self>) -> io::Result<Arc<Segment>> {
        let old = self.active_segment();
        let old_file = old.file()?;
        let interval_bytes = self.options().index_interval_bytes;
        let new = Segment::create(
            Arc::clone(&self.segment_context),
            self.log_end(),
            interval_bytes,
        )?;
        let snapshot = self.snapshot_producers(self.log_end());
        write(&self.segments).push(Arc::clone(&new));
        {
            let mut sync = lock(&self.sync);
            sync.note_dirty(&old, Some(&old_file));
            sync.note_new_segment();
            sync.set_producers(snapshot);
        }
        // Also with `durability: memory`: the closed segment's index is written once it is synced.
        self.schedule_sync();
        Ok(new)
    }

    /// Refuses an older epoch, and notes where a newer begins before its first batch is written.
    fn enter_epoch(&self, epoch: LeaderEpoch, group: &mut Group) -> Result<(), AppendError> {
        let latest = self.latest_epoch();
        if epoch == latest && epoch >= LeaderEpoch(0) {
            return Ok(());
        }
        if epoch < latest || epoch < LeaderEpoch(0) {
            return Err(AppendError::StaleEpoch {
                given: epoch,
                latest,
            });
        }
        self.flush(group)?;
        self.assign_epoch(epoch)
            .map_err(|error| self.explain(&error))
    }

    /// Notes that an epoch begins at the log's end. The caller holds `writer` and has made sure
    /// that it is not older than the latest.
    pub(super) fn assign_epoch(&self, epoch: LeaderEpoch) -> io::Result<()> {
        let before = self.epochs();
        let mut epochs = (*before).clone();
        if !epochs.assign(epoch, self.log_end()) {
            return Ok(());
        }
        *write(&self.epochs) = Arc::new(epochs);
        let stored = self.store_epochs();
        if stored.is_err() {
            *write(&self.epochs) = before;
        }
        stored
    }

    fn plan(&self, append: &Append, group: &mut Group) -> Result<Appended, AppendError> {
        let mut appended: Option<Appended> = None;
        let mut position = 0;
        for batch in batches(&append.batches) {
            let batch = batch.map_err(|error| AppendError::Corrupt {
                reason: error.to_string(),
            })?;
            if append.sequences.is_some() && position > 0 {
                let reason = "sequences are given for several batches";
                return Err(AppendError::Invalid { reason });
            }
            let bytes = append
                .batches
                .slice(position..position + batch.bytes().len());
            position += bytes.len();
            let one = self.plan_batch(*batch.header(), bytes, append, group)?;
            appended = Some(match appended {
                None => one,
                Some(all) => Appended {
                    next_offset: all.next_offset.max(one.next_offset),
                    duplicate: all.duplicate && one.duplicate,
                    ..all
                },
            });
        }
        appended.ok_or(AppendError::Invalid {
            reason: "there is no batch in it",
        })
    }

    fn plan_batch(
        &self,
        mut header: BatchHeader,
        bytes: Bytes,
        append: &Append,
        group: &mut Group,
    ) -> Result<Appended, AppendError> {
        check_size(bytes.len() as u64, u64::from(group.options.max_batch_bytes))?;
        let is_append_time = group.options.timestamp_type == TimestampType::LogAppendTime;
        if !is_append_time && header.timestamp_type() == TimestampType::LogAppendTime {
            return Err(AppendError::InvalidTimestampType);
        }
        header.base_offset = group.end.next_offset;
        header.leader_epoch = append.leader_epoch;
        header.check().map_err(|error| AppendError::Corrupt {
            reason: error.to_string(),
        })?;
        let offsets = header.base_offset..header.next_offset();
        let log_append_time_ms = is_append_time.then_some(append.now_ms);

        let said = sequences_of(&header);
        if let Some(sequences) = append.sequences.or(said) {
            if said.is_none_or(|said| said.last_sequence != sequences.last_sequence) {
                let reason = "the batch does not end with the producer's last sequence";
                return Err(AppendError::Invalid { reason });
            }
            let mut producers = lock(&self.producers);
            if let Verdict::Duplicate(seen) = producers.check(&sequences)? {
                return Ok(Appended {
                    base_offset: seen.base_offset,
                    next_offset: seen.next_offset,
                    log_append_time_ms: None,
                    duplicate: true,
                });
            }
            group
                .undo
                .push(producers.note_batch(&sequences, &header, append.now_ms));
        }

        let start = group.prefixes.len();
        if is_append_time {
            header.set_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp_ms = append.now_ms;
            group
                .prefixes
                .extend_from_slice(&sealed_header(&header, &bytes));
        } else {
            group.prefixes.extend_from_slice(&batch_prefix(
                header.base_offset,
                header.batch_length,
                header.leader_epoch,
            ));
        }
        group.push(start..group.prefixes.len(), bytes, &header);
        Ok(Appended {
            base_offset: offsets.start,
            next_offset: offsets.end,
            log_append_time_ms,
            duplicate: false,
        })
    }

    fn plan_as_follower(
        self: &Arc<Self>,
        append: &FollowerAppend,
        group: &mut Group,
    ) -> Result<(), AppendError> {
        if let Some(reason) = self.out_reason() {
            return Err(AppendError::Failed { reason });
        }
        if self.is_closed() {
            return Err(AppendError::Closed);
        }
        self.make_room(append.batches.len() as u64, group)?;
        group.now_ms = append.now_ms;
        let mut position = 0;
        for batch in batches(&append.batches) {
            let batch = batch
                .and_then(|batch| batch.validate_shallow().map(|()| batch))
                .map_err(|error| AppendError::Corrupt {
                    reason: error.to_string(),
                })?;
            let bytes = append
                .batches
                .slice(position..position + batch.bytes().len());
            position += bytes.len();
            check_size(bytes.len() as u64, BATCH_BYTES_MAX)?;
            let header = batch.header();
            if header.base_offset != group.end.next_offset {
                return Err(AppendError::NotAtLogEnd {
                    given: header.base_offset,
                    log_end: group.end.next_offset,
                });
            }
            self.enter_epoch(header.leader_epoch, group)?;
            if let Some(sequences) = sequences_of(header) {
                let mut producers = lock(&self.producers);
                group
                    .undo
                    .push(producers.note_batch(&sequences, header, append.now_ms));
            }
            group.push(0..0, bytes, header);
        }
        Ok(())
    }

    /// Writes what is planned. On an error the log is as before, and the appends that were planned
    /// get the error.
    fn flush(&self, group: &mut Group) -> Result<(), AppendError> {
        let result = if group.planned.is_empty() {
            Ok(())
        } else {
            self.write_planned(group)
        };
        match &result {
            Ok(()) => {
                group.planned.clear();
                group.undo.clear();
                group.start = group.end;
            }
            Err(error) => {
                let start = Mark {
                    end: group.start,
                    planned: 0,
                    undo: 0,
                };
                self.rewind(group, &start);
                for outcome in &mut group.finished.outcomes[group.pending_from..] {
                    if outcome.result.is_ok() {
                        outcome.result = Err(error.clone());
                    }
                }
            }
        }
        group.prefixes.clear();
        group.pending_from = group.finished.outcomes.len();
        result
    }

    fn write_planned(&self, group: &mut Group) -> Result<(), AppendError> {
        let opened = group
            .segment
            .make_active()
            .and_then(|()| group.segment.file());
        let written = opened.and_then(|file| {
            let position = group.start.len_bytes;
            match write_all(&*file, group.buffers(), position) {
                Ok(()) => Ok(file),
                Err(error) => {
                    self.cut_off(&*file, position, group);
                    Err(error)
                }
            }
        });
        let file = written.map_err(|error| self.explain(&error))?;
        let index: Vec<_> = group.planned.iter().map(|batch| batch.index).collect();
        group.segment.appended(&index, group.end);
        self.log_end.store(group.end.next_offset);
        self.threads
            .note_appended(group.end.len_bytes - group.start.len_bytes);
        group.finished.has_written = true;
        self.note_room();

        let is_fsync = group.options.durability == Durability::Fsync;
        group.finished.needs_sync |= is_fsync;
        {
            let mut sync = lock(&self.sync);
            let kept = is_fsync.then_some(&file);
            sync.note_written(&group.segment, kept, group.end.next_offset);
            if !is_fsync {
                self.stable_end.raise(group.end.next_offset);
            }
        }
        Ok(())
    }

    /// Removes what a failed write may have left behind the tail.
    fn cut_off(&self, file: &dyn LogFile, position: u64, group: &mut Group) {
        if let Err(error) = file.set_len(position) {
            self.set_failed(format!("failed to undo a failed write: {error}"));
            group.finished.has_failed = true;
        }
    }

    fn rewind(&self, group: &mut Group, mark: &Mark) {
        group.planned.truncate(mark.planned);
        group.end = mark.end;
        let mut producers = lock(&self.producers);
        for undo in group.undo.drain(mark.undo..).rev() {
            producers.undo(undo);
        }
    }

    /// What a failed write means to the one who appends.
    fn explain(&self, error: &io::Error) -> AppendError {
        if let Some(reason) = self.out_reason() {
            return AppendError::Failed { reason };
        }
        if is_disk_full(error) {
            self.note_disk_full(&error.to_string());
            return AppendError::DiskFull;
        }
        tracing::warn!(log = %self.folder.display(), %error, "write failed and was undone");
        AppendError::Io {
            reason: error.to_string(),
        }
    }
}

/// The sequences that a batch says itself; `None` when no idempotent producer wrote it.
pub(super) fn sequences_of(header: &BatchHeader) -> Option<ProducerSequences> {
    let is_foreign_control = header.is_control() && ProgressMarker::of(header).is_none();
    if header.producer_id.0 < 0 || is_foreign_control {
        return None;
    }
    Some(ProducerSequences {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        first_sequence: header.base_sequence,
        last_sequence: header.last_sequence()?,
        follows: Follows::Anything,
    })
}

const fn check_size(batch_bytes: u64, limit_bytes: u64) -> Result<(), AppendError> {
    if batch_bytes > limit_bytes || batch_bytes > BATCH_BYTES_MAX {
        return Err(AppendError::BatchTooLarge {
            batch_bytes,
            limit_bytes,
        });
    }
    Ok(())
}
