//! Keeps records out of a partition whose key came before, as the topic's setting `dedup` says.
//!
//! What was kept is what the log has, and nothing else: there is no state beside it. Whoever leads reads the end of the log
//! for the keys that count, with the first batch, and again whenever the log may hold something else than was
//! noted here.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::{Batch, BatchError, batches};
use thalweg_runtime::blocking;
use thalweg_smartengine::{
    CallLimits, Chain, ChainError, ChainOptions, Dedup, SeenState, SmartEngine, dense_batch,
    emptied_batch,
};
use thalweg_storage::{Appended, Log, LookupError};
use thalweg_types::{LeaderEpoch, LookBack, Offset};
use thalweg_wire::KafkaError;

use super::shutting_down;
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain as with_causes};
use crate::replica::Replica;

/// How many records are read back at first where no number bounds how many count.
const READ_BACK: i64 = 4096;
/// How much of the log is read at a time, in bytes.
const READ_BYTES: u32 = 4 << 20;

/// The keys that count in one partition.
#[derive(Default)]
pub(super) struct PartitionDedup {
    seen: Option<Seen>,
}

struct Seen {
    within: LookBack,
    chain: Chain,
    /// What of the log it has seen; absent while a batch is on its way there.
    stands: Option<Standing>,
    /// Where it stood before that batch.
    before: Standing,
}

/// All of the log up to its end, as this leader has it.
type Standing = (LeaderEpoch, Offset);

/// Why records can't be kept out.
#[derive(Debug, thiserror::Error)]
enum NotDeduplicated {
    #[error("the log can't be read for the keys that it has")]
    Read(#[from] LookupError),
    #[error("the log's file can't be read for the keys that it has")]
    File(#[from] std::io::Error),
    #[error("a batch is damaged")]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Chain(#[from] ChainError),
    #[error("what is left of the batch does not fit one batch: send smaller batches")]
    Several,
}

impl PartitionDedup {
    /// Whether batches go by what became of the ones before.
    pub(super) fn is_used(&self) -> bool {
        self.seen.is_some()
    }

    /// What is left of produced batches: where nothing is of an idempotent producer's, a batch without records.
    pub(super) async fn pass(
        &mut self,
        shared: &Shared,
        replica: &Replica,
        within: Option<LookBack>,
        produced: Bytes,
    ) -> Result<Bytes, Refusal> {
        let Some(within) = within else {
            self.seen = None;
            return Ok(produced);
        };
        let (engine, limits) = (shared.context.engine.clone(), bounds(shared));
        let (log, leader_epoch) = (Arc::clone(replica.log()), replica.leader_epoch());
        let known = self.seen.take();
        // Batches are decompressed, and the log may be read.
        let passed = blocking(move || {
            let known = known.filter(|known| {
                known.within == within && known.stands == Some((leader_epoch, log.log_end()))
            });
            let mut seen = match known {
                Some(known) => known,
                None => Seen::read(&engine, limits, within, &log, leader_epoch)?,
            };
            seen.before = seen.stands.take().unwrap_or(seen.before);
            let left = pass_all(&mut seen.chain, &produced)?;
            Ok::<_, NotDeduplicated>((seen, left))
        });
        let (seen, left) = passed
            .await
            .map_err(|_| shutting_down())?
            .map_err(|error| refusal(&error))?;
        self.seen = Some(seen);
        Ok(left)
    }

    /// Notes that the log has what was left of the batch, or that nothing was.
    pub(super) fn settle(&mut self, replica: &Replica, appended: Option<Appended>) {
        let Some(seen) = &mut self.seen else { return };
        let (leader_epoch, log_end) = seen.before;
        seen.stands = match appended {
            None => Some(seen.before),
            Some(appended) if appended.duplicate || appended.base_offset != log_end => None,
            Some(appended) => Some((leader_epoch, appended.next_offset))
                .filter(|_| leader_epoch == replica.leader_epoch()),
        };
    }
}

/// What the keys of a partition may take.
fn bounds(shared: &Shared) -> (CallLimits, u64) {
    let options = &shared.context.options;
    (
        options.call_limits(),
        options.smartmodule_shared_memory_bytes,
    )
}

impl Seen {
    /// The keys that count by what the log has.
    fn read(
        engine: &SmartEngine,
        (limits, state_bytes_max): (CallLimits, u64),
        within: LookBack,
        log: &Arc<Log>,
        leader_epoch: LeaderEpoch,
    ) -> Result<Self, NotDeduplicated> {
        // What is queued counts once it is written.
        let end = log.write_out();
        let open = |time_ms| {
            engine.open_chain(ChainOptions {
                dedup: Some(Dedup {
                    within,
                    restored: SeenState {
                        time_ms,
                        ..SeenState::default()
                    },
                    by_kept: true,
                }),
                state_bytes_max: Some(state_bytes_max),
                limits,
                ..ChainOptions::new(Vec::new())
            })
        };
        let mut time_ms = None;
        let mut count = within
            .last
            .map_or(READ_BACK, |last| i64::try_from(last).unwrap_or(i64::MAX));
        loop {
            let mut chain = open(time_ms)?;
            let log_start = log.log_start();
            let start = Offset(end.0.saturating_sub(count)).max(log_start);
            show(&mut chain, log, start..end)?;
            let newest_ms = newest(&chain, log, end)?;
            if newest_ms > chain.seen_time_ms() {
                // A record before these has a later timestamp, by which some of them are too old.
                time_ms = newest_ms;
                continue;
            }
            let (keys, _) = chain.seen_size();
            let has_all = within.last.is_some_and(|last| keys as u64 >= last);
            if start == log_start || has_all || reaches(within, newest_ms, log, start, end)? {
                let at = (leader_epoch, end);
                return Ok(Self {
                    within,
                    chain,
                    stands: Some(at),
                    before: at,
                });
            }
            // Records without keys were among them, or there are more of that age.
            count = count.saturating_mul(4);
        }
    }
}

/// Whether no record before `start` is young enough to count.
fn reaches(
    within: LookBack,
    newest_ms: Option<i64>,
    log: &Log,
    start: Offset,
    end: Offset,
) -> Result<bool, LookupError> {
    let (Some(age_ms), Some(newest_ms)) = (within.age_ms, newest_ms) else {
        return Ok(false);
    };
    let oldest_ms = newest_ms.saturating_sub_unsigned(age_ms);
    let first = log.offset_for_timestamp(oldest_ms, end)?;
    Ok(first.is_none_or(|(first, _)| start <= first))
}

/// The largest timestamp that the log has, which is most likely that of the records that the chain has seen.
fn newest(chain: &Chain, log: &Log, end: Offset) -> Result<Option<i64>, LookupError> {
    let mut newest_ms = chain.seen_time_ms();
    while let Some(known_ms) = newest_ms
        && let Some((_, later_ms)) = log.offset_for_timestamp(known_ms.saturating_add(1), end)?
        && later_ms > known_ms
    {
        newest_ms = Some(later_ms);
    }
    Ok(newest_ms)
}

/// Has a chain see what the log has.
fn show(chain: &mut Chain, log: &Log, range: Range<Offset>) -> Result<(), NotDeduplicated> {
    let mut from = range.start;
    while from < range.end {
        let slice = log.read(from, READ_BYTES, range.end)?;
        let bytes = slice.read_bytes()?;
        let before = from;
        for batch in batches(&bytes) {
            let batch = batch?;
            while from < batch.header().next_offset() {
                let output = chain.process_produced(batch, from)?;
                from = output.next_offset.max(from.next());
            }
        }
        if from == before {
            break;
        }
    }
    Ok(())
}

/// What is left of some batches.
fn pass_all(chain: &mut Chain, produced: &Bytes) -> Result<Bytes, NotDeduplicated> {
    let mut left = Vec::new();
    let mut is_changed = false;
    for batch in batches(produced) {
        let batch = batch?;
        let of_batch = pass_one(chain, batch)?;
        is_changed |= of_batch.is_some();
        left.push(of_batch.unwrap_or_else(|| batch.bytes().to_vec()));
    }
    Ok(match is_changed {
        true => Bytes::from(left.concat()),
        false => produced.clone(),
    })
}

/// What is left of a batch; `None` where that is all of it.
fn pass_one(chain: &mut Chain, batch: Batch<'_>) -> Result<Option<Vec<u8>>, NotDeduplicated> {
    let header = *batch.header();
    let codec = header.codec()?;
    let (mut left, mut parts) = (Vec::new(), 0);
    let mut from = header.base_offset;
    while from < header.next_offset() {
        let output = chain.process_produced(batch, from)?;
        if output.is_unchanged {
            return Ok(None);
        }
        from = output.next_offset.max(from.next());
        if let Some(dense) = dense_batch(&output, codec)? {
            left.extend_from_slice(&dense);
            parts += 1;
        }
    }
    let is_counted = header.last_sequence().is_some();
    if is_counted && parts > 1 {
        // The producer's count stands for one batch, and the log takes it with one batch only.
        return Err(NotDeduplicated::Several);
    }
    if is_counted && parts == 0 {
        left = emptied_batch(&header);
    }
    Ok(Some(left))
}

/// As a client hears of it.
fn refusal(error: &NotDeduplicated) -> Refusal {
    let reason = with_causes(error);
    let code = match error {
        NotDeduplicated::Batch(_) => KafkaError::CorruptMessage,
        NotDeduplicated::Several => KafkaError::InvalidRecord,
        NotDeduplicated::Chain(_) | NotDeduplicated::Read(_) | NotDeduplicated::File(_) => {
            KafkaError::KafkaStorageError
        }
    };
    Refusal::new(
        code,
        format!("duplicates can't be kept out of the topic: {reason}"),
    )
}
