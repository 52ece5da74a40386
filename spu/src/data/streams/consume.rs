//! A piece of a partition's log through a chain.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::{Batch, batches};
use thalweg_runtime::Clock;
use thalweg_smartengine::{Chain, ChainError};
use thalweg_storage::{Log, ReadError};
use thalweg_types::Offset;
use thalweg_wire::StreamFailure;

use super::open::on_guest_thread;
use super::{PartitionKey, Position, StandingChain, Stream, failure_of};
use crate::data::connection::Shared;
use crate::data::refusal::Refusal;

/// How much of the log goes through the chain before other streams get their turn, in bytes.
const INPUT_BYTES: u32 = 1 << 20;

/// What to do.
pub(in crate::data) struct Work {
    pub(in crate::data) log: Arc<Log>,
    /// Where to begin.
    pub(in crate::data) begin: Position,
    /// The offset to stop before: the high watermark.
    pub(in crate::data) until: Offset,
    /// Stop after the batch with which this much has come out.
    pub(in crate::data) output_bytes_max: usize,
    /// Stop after the batch that runs over this, on the monotonic clock.
    pub(in crate::data) deadline: Duration,
}

/// What came of it.
#[derive(Debug, Default)]
pub(in crate::data) struct Progress {
    /// Whole batches, one for each input batch of which something passed.
    pub(in crate::data) output: Vec<u8>,
    /// Where to go on.
    pub(in crate::data) next_offset: Offset,
    /// An aggregate's accumulator there.
    pub(in crate::data) accumulator: Option<Bytes>,
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
}

impl Stream {
    /// Puts a piece of the log through the partition's chain.
    pub(in crate::data) async fn run(
        self: &Arc<Self>,
        shared: &Shared,
        key: PartitionKey,
        work: Work,
    ) -> Result<Progress, Refusal> {
        let standing = self.take(&key)?;
        let stream = Arc::clone(self);
        let clock = Arc::clone(&shared.context.clock);
        let (standing, progress) = on_guest_thread(&self.lane, move || {
            stream.run_here(standing, &work, &*clock)
        })
        .await?;
        if let Some(standing) = standing {
            self.put(key, standing);
        }
        Ok(progress?)
    }

    /// As [`Self::run`], on this thread, with the chain given and given back.
    fn run_here(
        &self,
        standing: Option<StandingChain>,
        work: &Work,
        clock: &dyn Clock,
    ) -> (Option<StandingChain>, Result<Progress, ReadError>) {
        let read = work
            .log
            .read(work.begin.offset, INPUT_BYTES, work.until)
            .and_then(|slice| Ok(slice.read_bytes()?));
        let input = match read {
            Ok(input) if input.is_empty() => {
                return (standing, Ok(Progress::at_end(work.begin.offset)));
            }
            Ok(input) => input,
            Err(error) => return (standing, Err(error)),
        };
        let mut progress = Progress {
            next_offset: work.begin.offset,
            ..Progress::default()
        };
        let mut begin = work.begin.clone();
        let mut chain = None;
        // The client goes on where the chain stands, or is somewhere else and says with what.
        if let Some(standing) = standing
            && standing.at.offset == begin.offset
        {
            chain = standing.chain;
            begin.accumulator = standing.at.accumulator.or(begin.accumulator);
        }
        let outcome = match chain {
            Some(chain) => Ok(chain),
            None => self.open_chain(begin.accumulator.as_deref()),
        };
        let chain = match outcome {
            Ok(mut chain) => match pass(&mut chain, &input, work, clock, &mut progress) {
                Ok(()) => Some(chain),
                Err(error) => {
                    progress.failure = Some(failure_of(&error));
                    None
                }
            },
            Err(error) => {
                progress.failure = Some(failure_of(&error));
                None
            }
        };
        progress.is_at_end = progress.next_offset >= work.until;
        let standing = StandingChain {
            chain,
            at: Position {
                offset: progress.next_offset,
                accumulator: progress.accumulator.clone().or(begin.accumulator),
            },
        };
        (Some(standing), Ok(progress))
    }
}

/// Puts the batches of `input` through `chain` until there is enough.
fn pass(
    chain: &mut Chain,
    input: &[u8],
    work: &Work,
    clock: &dyn Clock,
    progress: &mut Progress,
) -> Result<(), ChainError> {
    for batch in batches(input) {
        let batch = batch?;
        while progress.next_offset < batch.header().next_offset() {
            pass_batch(chain, batch, progress)?;
            let is_enough = progress.output.len() >= work.output_bytes_max
                || clock.monotonic() >= work.deadline;
            if is_enough {
                return Ok(());
            }
        }
    }
    Ok(())
}

fn pass_batch(
    chain: &mut Chain,
    batch: Batch<'_>,
    progress: &mut Progress,
) -> Result<(), ChainError> {
    let output = chain.process_into(batch, progress.next_offset, &mut progress.output)?;
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
    Ok(())
}
