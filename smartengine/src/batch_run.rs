//! One batch on its way through all steps of a chain.

use std::borrow::Cow;
use std::ops::Range;

use thalweg_record::{Batch, BatchHeader};
use thalweg_smartmodule_abi::read_record;
use thalweg_types::{Offset, TimestampType};

use crate::accumulators::Accumulators;
use crate::chain::Chain;
use crate::chain_error::malformed;
use crate::failed_record::{Failing, failed_records};
use crate::output::{Wanted, append};
use crate::records::{Place, below};
use crate::step_run::{Accumulated, Passing, run_step};
use crate::{
    AccumulatorsByKey, ChainError, ChainOutput, KeyValueChanges, SeenChanges, SmartModuleKind,
    WindowChanges,
};

/// What has come of a batch so far.
pub(crate) struct BatchRun<'a> {
    header: BatchHeader,
    passed: Passing<'a>,
    failing: Vec<Failing>,
    changed: Changes,
    /// The offset delta of the first input record that was not dealt with.
    stopped_at: Option<i64>,
    failure: Option<ChainError>,
    /// Where the input was cut, if it is not all of the batch.
    end: Option<Offset>,
}

/// A part of a batch's records, borrowed from it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) section: &'a [u8],
    pub(crate) record_count: usize,
}

/// What all steps made of a part of the batch.
#[derive(Default)]
struct ChunkRun<'a> {
    passing: Passing<'a>,
    failing: Vec<Failing>,
    stopped_at: Option<i64>,
    failure: Option<ChainError>,
    /// The most bytes that one of the steps made.
    bytes_max: usize,
}

/// What the aggregate made, kept while later steps may still cut it short.
struct Aggregated<'a> {
    passing: Passing<'a>,
    accumulated: Option<Accumulated>,
}

/// What has changed of an aggregate's accumulators.
#[derive(Default)]
struct Changes {
    by_key: AccumulatorsByKey,
    windows: WindowChanges,
    seen: SeenChanges,
}

impl<'a> BatchRun<'a> {
    pub(crate) fn new(header: BatchHeader) -> Self {
        Self {
            header,
            passed: Passing::default(),
            failing: Vec::new(),
            changed: Changes::default(),
            stopped_at: None,
            failure: None,
            end: None,
        }
    }

    /// Its input goes up to this offset of the batch.
    pub(crate) fn ends_at(&mut self, end: Offset) {
        self.end = Some(end);
    }

    /// Puts `input` through the steps, a chunk at a time, until there is enough output.
    pub(crate) fn pass(&mut self, chain: &mut Chain, input: Input<'a>) -> Result<(), ChainError> {
        let mut rest = input;
        while rest.record_count > 0 {
            let first_delta = rest.first_delta()?;
            if self.passed.section.len() >= chain.limits.output_bytes_soft() {
                self.stopped_at = Some(first_delta);
                break;
            }
            let (chunk, behind) = chain.chunks.take(rest, &chain.accumulators)?;
            let is_first_chunk = rest.record_count == input.record_count;
            match run_kept_chunk(&self.header, chain, chunk, &mut self.changed) {
                Ok(run) => {
                    chain.chunks.learn(chunk.section.len(), run.bytes_max);
                    let failed_at_first = run.stopped_at == Some(first_delta);
                    self.take(run);
                    if self.stopped_at.is_some() {
                        // What precedes the failed record is given out first, if there is any.
                        if failed_at_first
                            && is_first_chunk
                            && let Some(failure) = self.failure.take()
                        {
                            return Err(failure);
                        }
                        break;
                    }
                }
                Err(error) => {
                    if error == ChainError::AwaitsCalls {
                        self.ask(chain, behind)?;
                    }
                    if is_first_chunk {
                        return Err(error);
                    }
                    self.stopped_at = Some(first_delta);
                    self.failure = Some(error);
                    break;
                }
            }
            rest = behind;
        }
        Ok(())
    }

    /// Has the modules ask what they will about `rest`, too, so that all of it is answered together. What comes of it
    /// counts for nothing: a chain that keeps anything is not asked ahead.
    fn ask(&self, chain: &mut Chain, mut rest: Input<'a>) -> Result<(), ChainError> {
        let keeps_nothing = matches!(chain.accumulators, Accumulators::None)
            && chain.seen.is_none()
            && chain.key_values.is_none();
        while keeps_nothing && rest.record_count > 0 {
            let (chunk, behind) = chain.chunks.take(rest, &chain.accumulators)?;
            let asked = run_chunk(&self.header, chain, chunk, &mut Changes::default());
            // What else is wrong shows once the calls are answered.
            if asked.is_err_and(|error| error != ChainError::AwaitsCalls) {
                break;
            }
            rest = behind;
        }
        Ok(())
    }

    fn take(&mut self, run: ChunkRun<'a>) {
        if self.passed.record_count == 0 {
            self.passed = run.passing;
        } else {
            let section = self.passed.section.to_mut();
            section.extend_from_slice(&run.passing.section);
            self.passed.record_count += run.passing.record_count;
        }
        self.failing.extend(run.failing);
        self.stopped_at = run.stopped_at;
        self.failure = run.failure;
    }

    /// The output, whose batch goes where it is wanted, and the failure that is to follow it.
    /// `section` is the input's.
    pub(crate) fn finish(
        self,
        chain: &mut Chain,
        input: Option<&Batch<'_>>,
        section: &[u8],
        wanted: Wanted<'_>,
    ) -> Result<(ChainOutput, Option<ChainError>), ChainError> {
        let is_unchanged = self.is_unchanged(section);
        let header = self.header;
        let end = self.stopped_at.unwrap_or(i64::MAX);
        let policy_of = |step: usize| chain.steps[step].on_failure();
        let failed = failed_records(self.failing, end, &header, section, policy_of)?;
        for failed in &failed {
            chain.count_failed(failed.step);
        }
        let mut records = None;
        if self.passed.record_count > 0 && (wanted.unchanged || !is_unchanged) {
            let out = match wanted.out {
                Some(out) => out,
                None => records.insert(Vec::new()),
            };
            let mut header = header;
            if matches!(chain.accumulators, Accumulators::Windowed(_)) {
                // A window has a time of its own, whoseever the input's was.
                header.set_timestamp_type(TimestampType::CreateTime);
            }
            append(&header, input, &self.passed, out)?;
        }
        let output = ChainOutput {
            records,
            is_unchanged,
            record_count: self.passed.record_count,
            next_offset: match self.stopped_at {
                Some(delta) => header.base_offset.plus(delta),
                None => self.end.unwrap_or(header.next_offset()),
            },
            accumulator: match &chain.accumulators {
                Accumulators::One(accumulator) => Some(accumulator.clone()),
                Accumulators::None | Accumulators::ByKey(_) | Accumulators::Windowed(_) => None,
            },
            accumulators: self.changed.by_key,
            windows: self.changed.windows,
            seen: self.changed.seen,
            key_values: chain
                .key_values
                .as_ref()
                .map_or_else(KeyValueChanges::new, |kept| kept.take_changes()),
            failed,
            input: header,
        };
        Ok((output, self.failure))
    }

    /// Whether what passed is all of `section`, as it lies there.
    fn is_unchanged(&self, section: &[u8]) -> bool {
        let is_whole = match &self.passed.section {
            Cow::Borrowed(passed) => std::ptr::eq(*passed, section),
            Cow::Owned(_) => false,
        };
        let is_all = self.stopped_at.is_none() && self.end.is_none();
        is_whole && self.passed.record_count > 0 && is_all
    }
}

/// Runs every step over `chunk`. What modules keep under keys of their own is as the records left it that are through.
fn run_kept_chunk<'a>(
    header: &BatchHeader,
    chain: &mut Chain,
    chunk: Input<'a>,
    changed: &mut Changes,
) -> Result<ChunkRun<'a>, ChainError> {
    let Some(kept) = chain.key_values.clone() else {
        return run_chunk(header, chain, chunk, changed);
    };
    let mark = kept.mark();
    let run = run_chunk(header, chain, chunk, changed);
    match &run {
        Ok(ChunkRun {
            stopped_at: Some(delta),
            ..
        }) => kept.undo_beyond(mark, header.base_offset.plus(*delta)),
        Ok(_) => {}
        Err(_) => kept.undo(mark),
    }
    run
}

/// Runs every step over `chunk`, and takes over what the aggregate accumulated.
fn run_chunk<'a>(
    header: &BatchHeader,
    chain: &mut Chain,
    chunk: Input<'a>,
    changed: &mut Changes,
) -> Result<ChunkRun<'a>, ChainError> {
    let mut run = ChunkRun {
        passing: Passing {
            section: Cow::Borrowed(chunk.section),
            record_count: chunk.record_count,
        },
        ..ChunkRun::default()
    };
    let seen = match &mut chain.seen {
        None => None,
        Some(seen) => match seen.pass(chunk, header)? {
            Ok((passing, seen)) => {
                run.passing = passing;
                Some(seen)
            }
            Err(full) => return Err(chain.state_full(full)),
        },
    };
    let mut aggregated = None;
    let step_count = chain.steps.len();
    for (index, step) in chain.steps.iter_mut().enumerate() {
        if run.passing.record_count == 0 {
            break;
        }
        let passing = std::mem::take(&mut run.passing);
        let stepped = run_step(step, index, header, passing, &mut chain.accumulators)?;
        run.bytes_max = run.bytes_max.max(stepped.passing.section.len());
        if step.kind() == SmartModuleKind::Aggregate {
            let is_last = index + 1 == step_count;
            aggregated = Some(Aggregated {
                // The last step's output is not cut any more, so it need not be kept twice.
                passing: if is_last {
                    Passing::default()
                } else {
                    stepped.passing.clone()
                },
                accumulated: stepped.accumulated,
            });
        }
        run.passing = stepped.passing;
        run.failing.extend(stepped.failing);
        // A later step sees no record from where an earlier one stopped, so it can only stop
        // before that.
        run.stopped_at = stepped.stopped_at.or(run.stopped_at);
        run.failure = stepped.failure.or(run.failure);
    }
    if let Some(seen) = seen {
        let end = run.stopped_at.unwrap_or(i64::MAX);
        changed.seen.extend(seen.before(end));
    }
    if let Some(aggregated) = aggregated {
        accumulate(chain, aggregated, &run, changed)?;
    }
    Ok(run)
}

/// Each accumulator is the value of the last record that the aggregate gave for it and that is
/// given out.
fn accumulate(
    chain: &mut Chain,
    aggregated: Aggregated<'_>,
    run: &ChunkRun<'_>,
    changed: &mut Changes,
) -> Result<(), ChainError> {
    let passing = if aggregated.passing.record_count > 0 {
        &aggregated.passing
    } else {
        &run.passing
    };
    let end = run.stopped_at.unwrap_or(i64::MAX);
    match aggregated.accumulated {
        Some(Accumulated::ByKey(keys)) => {
            let last = keys.last_values(passing, end)?;
            chain.update_accumulators(&last)?;
            let last = last.into_iter();
            let last = last.map(|(key, accumulator)| (key, accumulator.to_vec()));
            // A map is made of many entries at once in less time than of one after the other.
            changed.by_key.append(&mut last.collect());
            return Ok(());
        }
        Some(Accumulated::Windowed(run)) => {
            let settled = chain.settle_windows(run, end)?;
            changed.windows.extend(settled);
            return Ok(());
        }
        None => {}
    }
    let mut position = 0;
    let mut last = None;
    for _ in 0..passing.record_count {
        let record = read_record(&passing.section, &mut position).map_err(|_| malformed(0))?;
        if record.offset_delta >= end {
            break;
        }
        last = Some(record.value.unwrap_or_default());
    }
    if let (Some(value), Accumulators::One(accumulator)) = (last, &mut chain.accumulators) {
        *accumulator = value.to_vec();
    }
    Ok(())
}

impl Input<'_> {
    pub(crate) fn first_delta(&self) -> Result<i64, ChainError> {
        let first = read_record(self.section, &mut 0).map_err(|_| malformed(0))?;
        Ok(first.offset_delta)
    }
}

/// The part of a batch's records in `range`.
pub(crate) fn in_range<'a>(
    section: &'a [u8],
    header: &BatchHeader,
    range: &Range<Offset>,
) -> Result<Input<'a>, ChainError> {
    let record_count = usize::try_from(header.record_count).map_err(|_| malformed(0))?;
    let place_of = |offset: Offset| {
        let delta = offset.0.saturating_sub(header.base_offset.0);
        below(section, record_count, delta).map_err(|_| malformed(0))
    };
    let start = if range.start > header.base_offset {
        place_of(range.start)?
    } else {
        Place::default()
    };
    let end = if range.end < header.next_offset() {
        place_of(range.end)?
    } else {
        Place {
            bytes: section.len(),
            record_count,
        }
    };
    Ok(Input {
        section: section.get(start.bytes..end.bytes).unwrap_or_default(),
        record_count: end.record_count.saturating_sub(start.record_count),
    })
}
