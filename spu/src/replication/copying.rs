//! Copies what there is to copy from one leader: asks, writes what is answered, and asks again.
//!
//! What this SPU is behind with it reads ahead: while an answer is being checked and written the leader
//! already sends what comes after it. Such a request claims no more than is written (`fetch_offset` and the
//! stable end say that), and its answer goes only after what it was to follow: where that was not written,
//! nothing happens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thalweg_client::Connection;
use thalweg_record::batches;
use thalweg_runtime::blocking;
use thalweg_types::{Offset, PartitionId, PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::messages::{FetchRequest, FetchResponse};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Partitions;
use super::catch_up::Allowance;
use super::leader_fetcher::{LeaderFetcher, Pauses, Stop};
use super::request::{self, Asked, Asker, Session};
use super::take::{Taken, take};
use super::told::Told;
use crate::replica::Follower;

/// How often everything is named to a leader that keeps a session, and how often at the least in the time
/// that a follower may lag.
const NAME_ALL_AFTER: Duration = Duration::from_secs(2);
const NAME_ALL_PER_LAG: u32 = 4;

/// The most that an answer holds beside live traffic, in bytes: some tenths of a millisecond's work, and
/// still 250 MB a second from a leader that is a millisecond away.
const BESIDE_LIVE_BYTES: i32 = 256 << 10;

/// What is known from one request to the next.
#[derive(Default)]
struct Course {
    told: Told,
    /// Which partition is named first.
    turn: usize,
    writing: Option<Writing>,
}

/// An answer that is being written.
struct Writing {
    work: JoinHandle<Vec<(Arc<Follower>, Taken)>>,
    /// Up to where each log goes then; `None` where that is not known before.
    ends: Option<BTreeMap<PartitionId, Offset>>,
}

impl LeaderFetcher {
    /// Copies over one connection.
    pub(super) async fn copy(&self, connection: &Arc<Connection>, pauses: &mut Pauses) -> Stop {
        let mut course = Course::default();
        let stop = self.copy_on(connection, pauses, &mut course).await;
        // Whoever goes on from here asks for what comes after it.
        self.finish_writing(&mut course, pauses).await;
        stop
    }

    async fn copy_on(
        &self,
        connection: &Arc<Connection>,
        pauses: &mut Pauses,
        course: &mut Course,
    ) -> Stop {
        let mut changes = self.partitions.clone();
        loop {
            let request = match self.next_request(&mut changes, pauses, course).await {
                Ok(Some(request)) => request,
                Ok(None) => continue,
                Err(stop) => return stop,
            };
            let answer = tokio::select! {
                answer = self.call(connection, &request) => answer,
                changed = changes.changed() => return match changed {
                    Ok(()) => Stop::Changed,
                    Err(_) => Stop::Done,
                },
            };
            self.finish_writing(course, pauses).await;
            match answer {
                Ok(answer) => course.writing = Some(self.begin_writing(answer, &mut course.told)),
                Err(error) => return Stop::Broken(error.to_string()),
            }
            let is_known = |writing: &Writing| writing.ends.is_some();
            // Where there is live traffic it takes one processor at a time.
            let reads_ahead = !self.in_sync
                && course.writing.as_ref().is_some_and(is_known)
                && !self.is_beside_live();
            if !reads_ahead {
                self.finish_writing(course, pauses).await;
            }
        }
    }

    /// What to ask for next; `None` after a wait, where nothing can be asked for.
    async fn next_request(
        &self,
        changes: &mut watch::Receiver<Partitions>,
        pauses: &mut Pauses,
        course: &mut Course,
    ) -> Result<Option<FetchRequest>, Stop> {
        let now = self.context.clock.monotonic();
        // What rests is asked for again when it does not, with everything else.
        if pauses.none_at(now)
            && let Some((session, asked)) = course.told.changed(now)
        {
            return Ok(Some(request::more(self.asker, session, &asked)));
        }
        self.ask_all(changes, pauses, course).await
    }

    /// A request that names everything.
    async fn ask_all(
        &self,
        changes: &mut watch::Receiver<Partitions>,
        pauses: &mut Pauses,
        course: &mut Course,
    ) -> Result<Option<FetchRequest>, Stop> {
        let followed = changes.borrow_and_update().clone();
        let mut asked = self.ready(&followed, pauses);
        if let Some(writing) = &course.writing {
            writing.read_ahead(&mut asked);
        }
        let now = self.context.clock.monotonic();
        // Until a partition that rests may be asked for again: then it is named with all others.
        let rest = pauses.first_end(now).unwrap_or(Duration::MAX);
        let wait = self.asker.wait.min(rest);
        if asked.is_empty() {
            // No answer says when a log can be written again; in the end the time does.
            return wait_for_others(changes, wait).await;
        }
        // Another one is the first each time: an answer has room for some only.
        course.turn = (course.turn + 1) % asked.len();
        asked.rotate_left(course.turn);
        let mut asker = self.asker_now(wait);
        let not_before = self.bound(&mut asked, &mut asker);
        if asked.is_empty() {
            // Nothing else can be asked for until then, unless there are others.
            return wait_for_others(changes, not_before).await;
        }
        let session = if self.in_sync {
            Session::NEW
        } else {
            // What may be asked for changes from one request to the next.
            Session::NONE
        };
        let lag_max = self.context.options.replica_lag_max;
        let all_after = NAME_ALL_AFTER.min(lag_max / NAME_ALL_PER_LAG).min(rest);
        course.told.name_all(&asked, now + all_after);
        Ok(Some(request::more(asker, session, &asked)))
    }

    /// How much is asked for now.
    fn asker_now(&self, wait: Duration) -> Asker {
        let bytes_max = self.asker.bytes_max;
        let bytes_max = if !self.in_sync && self.is_beside_live() {
            bytes_max.min(BESIDE_LIVE_BYTES)
        } else {
            bytes_max
        };
        Asker {
            bytes_max,
            wait,
            ..self.asker
        }
    }

    fn is_beside_live(&self) -> bool {
        let appended = self.context.replicas.appended_bytes();
        let now = self.context.clock.monotonic();
        self.catch_up.is_beside_live(appended, now)
    }

    /// Leaves out what must not be asked for as yet, and bounds the rest. For how long nothing of what was
    /// left out may be asked for.
    fn bound(&self, asked: &mut Vec<Asked>, asker: &mut Asker) -> Duration {
        let is_free = |asked: &Asked| self.in_sync || asked.follower.is_caught_up();
        if asked.iter().all(is_free) {
            return Duration::ZERO;
        }
        let appended = self.context.replicas.appended_bytes();
        let now = self.context.clock.monotonic();
        match self.catch_up.allowance(appended, now) {
            Allowance::Unbounded => Duration::ZERO,
            Allowance::Bytes(bytes) => {
                let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
                asker.bytes_max = asker.bytes_max.min(bytes);
                // An answer that is full of the others leaves no room for these.
                asked.sort_by_key(|asked| !is_free(asked));
                Duration::ZERO
            }
            Allowance::After(pause) => {
                asked.retain(is_free);
                asker.wait = asker.wait.min(pause);
                pause
            }
        }
    }

    /// Notes what is about to be appended.
    fn note_copied(&self, follower: &Follower, data: &PartitionData) {
        let bytes = data.records.as_ref().map_or(0, |records| records.len());
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.in_sync || follower.is_caught_up() {
            let now = self.context.clock.monotonic();
            self.catch_up.note_live(bytes, now);
        } else {
            self.catch_up.note_behind(bytes);
        }
    }

    fn begin_writing(&self, answer: FetchResponse, told: &mut Told) -> Writing {
        told.answered(&answer);
        let now_ms = self.context.clock.now_ms();
        let mut parts = Vec::new();
        for topic in answer.responses {
            let Ok(name) = TopicName::new(&topic.topic) else {
                continue;
            };
            for data in topic.partitions {
                let partition = TopicPartition {
                    topic: name.clone(),
                    partition: PartitionIndex(data.partition_index),
                };
                if let Some(asked) = told.named(&partition) {
                    self.note_copied(&asked.follower, &data);
                    parts.push((asked, data));
                }
            }
        }
        let ends = parts.iter().map(|(asked, data)| {
            let end = end_after(asked, data)?;
            Some((asked.follower.id(), end))
        });
        Writing {
            ends: ends.collect(),
            work: blocking(move || {
                let taken = parts.into_iter().map(|(asked, data)| {
                    let taken = take(&asked, data, now_ms);
                    (asked.follower, taken)
                });
                taken.collect()
            }),
        }
    }

    /// Waits until what is being written is written.
    async fn finish_writing(&self, course: &mut Course, pauses: &mut Pauses) {
        let Some(writing) = course.writing.take() else {
            return;
        };
        // It fails only when the runtime is going away.
        let taken = writing.work.await.unwrap_or_default();
        let now = self.context.clock.monotonic();
        for (follower, taken) in taken {
            pauses.note(&follower, taken, now);
            course.told.touch(follower);
        }
    }
}

impl Writing {
    /// Has what is asked for come after what is being written.
    fn read_ahead(&self, asked: &mut [Asked]) {
        for asked in asked {
            let end = self.ends.as_ref();
            let end = end.and_then(|ends| ends.get(&asked.follower.id()));
            asked.from = end.map_or(asked.from, |end| asked.from.max(*end));
        }
    }
}

/// Up to where a log will go once what was answered is written; `None` where it may be cut instead, or
/// nothing be written.
fn end_after(asked: &Asked, data: &PartitionData) -> Option<Offset> {
    let diverging = &data.diverging_epoch;
    let is_sound = data.error_code == 0 && diverging.end_offset < 0 && diverging.epoch < 0;
    let log_end = asked.follower.standing()?.log_end;
    if !is_sound || log_end != asked.from {
        return None;
    }
    let records = data.records.as_deref().unwrap_or_default();
    batches(records).try_fold(log_end, |end, batch| {
        let batch = batch.ok()?;
        let header = batch.header();
        (header.base_offset == end).then(|| header.next_offset())
    })
}

/// Waits until other partitions are to be followed, or time is up.
async fn wait_for_others(
    changes: &mut watch::Receiver<Partitions>,
    wait: Duration,
) -> Result<Option<FetchRequest>, Stop> {
    match tokio::time::timeout(wait, changes.changed()).await {
        Ok(Err(_)) => Err(Stop::Done),
        Ok(Ok(())) | Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thalweg_record::{
        BatchBuilder, BatchHeader, BatchOptions, Codec, assemble_batch, stamp_position,
    };
    use thalweg_types::LeaderEpoch;
    use thalweg_wire::messages::fetch_response::EpochEndOffset;

    use super::*;

    /// An answer with a batch of one record for each of the offsets.
    fn answer(offsets: &[i64]) -> PartitionData {
        let mut records = Vec::new();
        for offset in offsets {
            let mut builder = BatchBuilder::new(BatchOptions::default());
            builder.push(0, None, Some(b"value"), &[]).unwrap();
            let mut batch = builder.build().unwrap();
            stamp_position(&mut batch, Offset(*offset), LeaderEpoch(3)).unwrap();
            records.extend_from_slice(&batch);
        }
        PartitionData::default().with_records(Some(Bytes::from(records)))
    }

    fn asked(follower: &Arc<Follower>, from: i64) -> Asked {
        let asked = Asked::after_log(Arc::clone(follower)).unwrap();
        Asked {
            from: Offset(from),
            ..asked
        }
    }

    #[test]
    fn what_is_read_ahead_goes_after_what_it_follows_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::for_testing(folder.path());
        let ahead = asked(&follower, 2);

        let early = take(&ahead, answer(&[2, 3]), 0);
        assert!(matches!(early, Taken::Well), "{early:?}");
        assert_eq!(follower.standing().unwrap().log_end, Offset(0));

        take(&asked(&follower, 0), answer(&[0, 1]), 0);
        assert_eq!(follower.standing().unwrap().log_end, Offset(2));
        let not_ahead = take(&ahead, answer(&[0, 1]), 0);
        assert!(matches!(not_ahead, Taken::Well), "{not_ahead:?}");
        take(&ahead, answer(&[2, 3]), 0);
        assert_eq!(follower.standing().unwrap().log_end, Offset(4));
        let late = take(&ahead, answer(&[2, 3]), 0);
        assert!(matches!(late, Taken::Well), "{late:?}");
        assert_eq!(follower.standing().unwrap().log_end, Offset(4));
    }

    #[test]
    fn a_copy_that_ends_within_what_compaction_removed_from_its_leader_goes_on_behind_that() {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::for_testing(folder.path());
        take(&asked(&follower, 0), answer(&[0, 1]), 0);
        let records = answer(&[0]).records.unwrap();
        let mut removed = BatchHeader::parse(&records).unwrap();
        (removed.last_offset_delta, removed.record_count) = (5, 0);
        let mut batches = assemble_batch(removed, &[], Codec::None).unwrap();
        batches.extend_from_slice(&answer(&[6]).records.unwrap());
        let compacted = PartitionData::default().with_records(Some(Bytes::from(batches)));

        let taken = take(&asked(&follower, 2), compacted, 0);

        assert!(matches!(taken, Taken::Well), "{taken:?}");
        assert_eq!(follower.standing().unwrap().log_end, Offset(7));
    }

    #[test]
    fn reading_ahead_begins_where_an_answer_ends_that_will_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let follower = Follower::for_testing(folder.path());
        let now = asked(&follower, 0);

        assert_eq!(end_after(&now, &answer(&[0, 1])), Some(Offset(2)));
        assert_eq!(end_after(&now, &answer(&[])), Some(Offset(0)));
        assert_eq!(end_after(&now, &answer(&[1])), None, "not what was asked");
        assert_eq!(end_after(&now, &answer(&[0, 2])), None, "a gap");
        assert_eq!(end_after(&asked(&follower, 1), &answer(&[1])), None);
        let refused = answer(&[]).with_error_code(1);
        assert_eq!(end_after(&now, &refused), None);
        let parted = EpochEndOffset::default().with_epoch(2).with_end_offset(0);
        let parted = answer(&[]).with_diverging_epoch(parted);
        assert_eq!(end_after(&now, &parted), None);
    }
}
