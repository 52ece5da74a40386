//! A piece of a partition's log through a chain.
//!
//! The answer waits until the dead letters of its records are acknowledged. Where they can't be,
//! the chain is dropped and stands where it stood before: it runs over the same records again, and
//! nothing has moved for the client.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::{Batch, Codec, batches};
use thalweg_runtime::Clock;
use thalweg_smartengine::{Chain, ChainError};
use thalweg_storage::Log;
use thalweg_types::Offset;
use thalweg_wire::{
    ACCUMULATORS_NEEDED, FailedRecords, KafkaError, KeyedAccumulators, StreamFailure,
};

use super::failures::Failures;
use super::look_back::{LookBackError, LookingBack};
use super::open::on_guest_thread;
use super::pieces::Pieces;
use super::{PartitionKey, Position, Restored, StandingChain, Stream, failure_of};
use crate::data::connection::Shared;
use crate::data::dead_letters::Undelivered;
use crate::data::refusal::Refusal;
use crate::metrics::Metered;

/// How much of the log goes through the chain before other streams get their turn, in bytes.
const INPUT_BYTES: u32 = 1 << 20;

/// How long it goes on before other streams get their turn. Longer than that takes a single batch
/// alone, and a stream whose batches do is known to be slow.
const TURN: Duration = Duration::from_millis(10);

/// What to do.
pub(in crate::data) struct Work {
    pub(in crate::data) log: Arc<Log>,
    /// Where to begin.
    pub(in crate::data) begin: Position,
    /// The offset to stop before: the high watermark.
    pub(in crate::data) until: Offset,
    /// Stop after the batch that reaches this, where the client wants no more.
    pub(in crate::data) stop: Option<Offset>,
    /// Stop after the batch with which this much has come out.
    pub(in crate::data) output_bytes_max: usize,
    /// Stop after the batch that runs over this, on the monotonic clock.
    pub(in crate::data) deadline: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(in crate::data) struct Progress {
    /// Whole batches, one for each input batch of which something passed.
    pub(in crate::data) output: Vec<Bytes>,
    /// Where to go on.
    pub(in crate::data) next_offset: Offset,
    /// An aggregate's accumulator there.
    pub(in crate::data) accumulator: Option<Bytes>,
    /// Those by key that have changed.
    pub(in crate::data) accumulators: KeyedAccumulators,
    /// Records that were left out; dead letters are acknowledged.
    pub(in crate::data) failed: Vec<FailedRecords>,
    /// That is where the log ended.
    pub(in crate::data) is_at_end: bool,
    /// Why it did not get further.
    pub(in crate::data) failure: Option<StreamFailure>,
}

impl Progress {
    pub(in crate::data) fn at_end(offset: Offset) -> Self {
        Self {
            next_offset: offset,
            is_at_end: true,
            ..Self::default()
        }
    }

    fn none_from(offset: Offset) -> Self {
        Self {
            next_offset: offset,
            ..Self::default()
        }
    }
}

/// What a turn on a guest thread came to.
struct Turn {
    /// The chain, to be put back.
    standing: Option<StandingChain>,
    /// Where the chain is to be opened anew if the dead letters are not delivered.
    before: Position,
    outcome: Result<(Progress, Failures), Refusal>,
}

impl Stream {
    /// Puts a piece of the log through the partition's chain.
    pub(in crate::data) async fn run(
        self: &Arc<Self>,
        shared: &Shared,
        key: PartitionKey,
        work: Work,
    ) -> Result<Progress, Refusal> {
        self.check_topic(&key.0)?;
        let standing = self.take(&key)?;
        let stream = Arc::clone(self);
        let clock = Arc::clone(&shared.context.clock);
        let of = key.clone();
        let turn = on_guest_thread(&self.lane, move || {
            stream.run_here(standing, work, &of, &*clock)
        })
        .await?;
        let delivered = match turn.outcome {
            Ok((progress, failures)) => {
                let counts = failures.deliver(&shared.dead_letters).await;
                counts.map(|failed| Ok(Progress { failed, ..progress }))
            }
            Err(refusal) => Ok(Err(refusal)),
        };
        match delivered {
            Ok(outcome) => {
                if let Some(standing) = turn.standing {
                    self.put(key, standing);
                }
                outcome
            }
            Err(undelivered) => {
                let began_at = turn.before.offset;
                self.put(key, StandingChain::nowhere(turn.before));
                undelivered.into_outcome(began_at)
            }
        }
    }

    /// As [`Self::run`], on this thread, with the chain given and given back.
    fn run_here(
        &self,
        standing: Option<StandingChain>,
        work: Work,
        key: &PartitionKey,
        clock: &dyn Clock,
    ) -> Turn {
        let began_at = work.begin.offset;
        let read = work
            .log
            .read(began_at, INPUT_BYTES, work.until)
            .and_then(|slice| Ok(slice.read_bytes()?));
        let input = match read {
            Ok(input) if !input.is_empty() => input,
            // Nothing was done: the chain is as it was.
            other => {
                return Turn {
                    standing,
                    before: Position::at(began_at),
                    outcome: other
                        .map(|_| (Progress::at_end(began_at), Failures::default()))
                        .map_err(Refusal::from),
                };
            }
        };
        let opened = standing_at(standing, &work.begin);
        let before = opened.position_known_here();
        let (mut chain, looking_back) = match self.chain_of(opened) {
            Ok(found) => found,
            Err(stopped) => return stopped.turn(before),
        };
        if let Some(mut left) = looking_back {
            let looked = left.advance(&mut chain.chain, &work.log);
            chain.count();
            match looked {
                Ok(true) => {}
                Ok(false) => {
                    let standing = StandingChain {
                        chain: Some(chain),
                        looking_back: Some(left),
                        is_ahead: false,
                        at: before.clone(),
                    };
                    return Turn {
                        standing: Some(standing),
                        before,
                        outcome: Ok((Progress::none_from(began_at), Failures::default())),
                    };
                }
                Err(error) => return Stopped::from(error).turn(before),
            }
        }
        let passing = Passing {
            stream: self,
            key,
            work: &work,
            input: &input,
            output: Pieces::of(&input),
            progress: Progress::none_from(began_at),
            failures: Failures::default(),
        };
        passing.turn(chain, before, clock)
    }

    /// The chain that stands, or one that is opened now, and what it is still to be shown.
    fn chain_of(&self, opened: StandingChain) -> Result<(Metered, Option<LookingBack>), Stopped> {
        if let Some(chain) = opened.chain {
            return Ok((chain, opened.looking_back));
        }
        let Position { offset, restored } = opened.at;
        if self.is_by_key && restored == Restored::Nothing {
            return Err(Stopped::Refused(accumulators_needed(offset)));
        }
        let chain = self.open_chain(restored).map_err(Stopped::Failed)?;
        let looking_back = LookingBack::of(&chain.chain, offset, self.opened_ms);
        Ok((chain, looking_back))
    }
}

/// The chain that stands where the client goes on. It is elsewhere with what it brought.
fn standing_at(standing: Option<StandingChain>, begin: &Position) -> StandingChain {
    let mut opened = match standing {
        Some(standing) if standing.at.offset == begin.offset => standing,
        _ => StandingChain::nowhere(Position::at(begin.offset)),
    };
    if opened.at.restored == Restored::Nothing {
        opened.at.restored = begin.restored.clone();
    }
    opened
}

impl StandingChain {
    /// Where it stands, as far as that is known without the chain: accumulators by key are the
    /// chain's alone, and the client is asked for its own.
    fn position_known_here(&self) -> Position {
        let restored = match &self.at.restored {
            Restored::Partition(accumulator) => Restored::Partition(accumulator.clone()),
            Restored::Nothing | Restored::ByKey(_) => Restored::Nothing,
        };
        Position {
            offset: self.at.offset,
            restored,
        }
    }
}

/// Why no record was put through.
enum Stopped {
    Failed(ChainError),
    Refused(Refusal),
}

impl From<LookBackError> for Stopped {
    fn from(error: LookBackError) -> Self {
        match error {
            LookBackError::Chain(error) => Self::Failed(error),
            LookBackError::Read(error) => Self::Refused(error.into()),
        }
    }
}

impl Stopped {
    fn turn(self, before: Position) -> Turn {
        let outcome = match self {
            Self::Failed(error) => {
                let progress = Progress {
                    failure: Some(failure_of(&error)),
                    ..Progress::none_from(before.offset)
                };
                Ok((progress, Failures::default()))
            }
            Self::Refused(refusal) => Err(refusal),
        };
        Turn {
            standing: Some(StandingChain::nowhere(before.clone())),
            before,
            outcome,
        }
    }
}

/// Batches on their way through a chain.
struct Passing<'a> {
    stream: &'a Stream,
    key: &'a PartitionKey,
    work: &'a Work,
    input: &'a Bytes,
    output: Pieces<'a>,
    progress: Progress,
    failures: Failures,
}

impl Passing<'_> {
    /// Puts the batches of the input through `chain`, and says where it stands then.
    fn turn(mut self, mut chain: Metered, before: Position, clock: &dyn Clock) -> Turn {
        let outcome = self.pass(&mut chain.chain, clock);
        chain.count();
        let mut progress = self.progress;
        progress.output = self.output.finish();
        progress.failure = outcome.as_ref().err().map(failure_of);
        progress.is_at_end = progress.next_offset >= self.work.until;
        let standing = StandingChain {
            chain: outcome.is_ok().then_some(chain),
            looking_back: None,
            is_ahead: false,
            at: Position {
                offset: progress.next_offset,
                restored: match &progress.accumulator {
                    Some(accumulator) => Restored::Partition(accumulator.clone()),
                    None => before.restored.clone(),
                },
            },
        };
        Turn {
            standing: Some(standing),
            before,
            outcome: Ok((progress, self.failures)),
        }
    }

    /// Puts the batches of the input through `chain` until there is enough.
    fn pass(&mut self, chain: &mut Chain, clock: &dyn Clock) -> Result<(), ChainError> {
        let turn_ends = clock.monotonic() + TURN;
        let ends = self.work.deadline.min(turn_ends);
        let mut end = 0;
        for batch in batches(self.input) {
            let batch = batch?;
            let place = end..end + batch.bytes().len();
            end = place.end;
            while self.progress.next_offset < batch.header().next_offset() {
                if self
                    .work
                    .stop
                    .is_some_and(|stop| self.progress.next_offset >= stop)
                {
                    return Ok(());
                }
                self.pass_batch(chain, batch, place.clone())?;
                let is_enough =
                    self.output.len() >= self.work.output_bytes_max || clock.monotonic() >= ends;
                if is_enough {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Puts one batch through, which stands at `place` in the input.
    fn pass_batch(
        &mut self,
        chain: &mut Chain,
        batch: Batch<'_>,
        place: Range<usize>,
    ) -> Result<(), ChainError> {
        let progress = &mut self.progress;
        let from = progress.next_offset;
        // What comes out is uncompressed.
        let may_stay = batch.header().codec() == Ok(Codec::None);
        let output = self.output.write(|written| match may_stay {
            true => chain.process_changed_into(batch, from, written),
            false => chain.process_into(batch, from, written),
        })?;
        if may_stay && output.is_unchanged {
            self.output.keep(place);
        }
        if output.next_offset <= progress.next_offset {
            return Err(ChainError::BadOutput {
                step: String::new(),
                reason: format!("no progress at offset {}", progress.next_offset),
            });
        }
        progress.next_offset = output.next_offset;
        if let Some(accumulator) = output.accumulator {
            progress.accumulator = Some(Bytes::from(accumulator));
        }
        let changed = output.accumulators.into_iter();
        progress
            .accumulators
            .extend(changed.map(|(key, value)| (key.map(Bytes::from), Bytes::from(value))));
        self.failures
            .take(self.stream, self.key, output.failed, true);
        Ok(())
    }
}

impl Undelivered {
    /// What a fetch that began at `offset` is told: it has not moved.
    fn into_outcome(self, offset: Offset) -> Result<Progress, Refusal> {
        match self {
            // Clients retry upon this one.
            Self::NotNow { .. } => Err(Refusal::new(
                KafkaError::KafkaStorageError,
                self.to_string(),
            )),
            Self::Never { .. } => Ok(Progress {
                failure: Some(StreamFailure {
                    step: String::new(),
                    offset: None,
                    key: None,
                    message: self.to_string(),
                }),
                ..Progress::none_from(offset)
            }),
        }
    }
}

fn accumulators_needed(offset: Offset) -> Refusal {
    Refusal::new(
        KafkaError::Unknown(ACCUMULATORS_NEEDED),
        format!("no chain stands at offset {offset}: fetch again with the accumulators by key"),
    )
}
