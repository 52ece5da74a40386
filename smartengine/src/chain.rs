//! SmartModules applied one after the other to a stream's batches.
//!
//! A [`Chain`] belongs to one stream and is given its batches in order, on one thread at a time.
//! Records stay in their encoding from step to step; each keeps the offset of the input record
//! that it came from, so that the stream can be resumed at any offset that a [`ChainOutput`]
//! names, and neither skips nor repeats a record.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use thalweg_record::{Batch, BatchHeader};
use thalweg_smartmodule_abi::read_record;
use thalweg_types::Offset;

use crate::guest::GuestHost;
use crate::open_step::{OpenStep, Passing, malformed};
use crate::output::assemble;
use crate::records::{Extent, below};
use crate::{CallLimits, ChainError, ChainOutput, SmartModule, SmartModuleKind};

/// One SmartModule of a chain, with its parameters.
#[derive(Debug, Clone)]
pub struct Step {
    /// The module.
    pub module: Arc<SmartModule>,
    /// What its `init` is given.
    pub params: BTreeMap<String, String>,
    /// What errors and log lines call the step.
    pub name: String,
}

/// What a chain is made of.
#[derive(Debug, Clone)]
pub struct ChainOptions {
    /// The steps in order.
    pub steps: Vec<Step>,
    /// What the aggregate starts with; empty when not given.
    pub accumulator: Option<Vec<u8>>,
    /// The bounds of each call; lowered to the engine's where they pass them.
    pub limits: CallLimits,
}

/// SmartModules with their state, ready to be given a stream's batches.
pub struct Chain {
    steps: Vec<OpenStep>,
    accumulator: Option<Vec<u8>>,
    limits: CallLimits,
    state: ChainState,
}

#[derive(Debug)]
enum ChainState {
    Running,
    /// The records before a failed one have been given out; the failure is given out next.
    Failing(ChainError),
    Spent,
}

impl std::fmt::Debug for Chain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.steps.iter().map(|step| &step.name).collect();
        f.debug_struct("Chain")
            .field("steps", &names)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Chain {
    pub(crate) fn open(host: &GuestHost, options: ChainOptions) -> Result<Self, ChainError> {
        let has_aggregate = check_steps(&options.steps)?;
        if options.accumulator.is_some() && !has_aggregate {
            return Err(ChainError::AccumulatorWithoutAggregate);
        }
        let limits = options.limits;
        let steps = options
            .steps
            .into_iter()
            .map(|step| OpenStep::open(host, step, limits))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            steps,
            accumulator: has_aggregate.then(|| options.accumulator.unwrap_or_default()),
            limits,
            state: ChainState::Running,
        })
    }

    /// How large the linear memories of all its instances are together, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.steps.iter().map(OpenStep::memory_bytes).sum()
    }

    /// Puts a batch through the chain, leaving out its records below `from`.
    ///
    /// The output may end within the batch (see [`ChainOutput::next_offset`]): then the same batch
    /// is to be given again from there. When a record fails, those before it come out first, and
    /// the next call gives the error.
    ///
    /// # Errors
    ///
    /// After any error but [`ChainError::Batch`] the chain is spent.
    pub fn process(&mut self, batch: Batch<'_>, from: Offset) -> Result<ChainOutput, ChainError> {
        match std::mem::replace(&mut self.state, ChainState::Spent) {
            ChainState::Running => {}
            ChainState::Failing(error) => return Err(error),
            ChainState::Spent => return Err(ChainError::Spent),
        }
        let processed = self.process_batch(&batch, from);
        self.state = match &processed {
            Ok((_, Some(failure))) => ChainState::Failing(failure.clone()),
            Ok((_, None)) | Err(ChainError::Batch(_)) => ChainState::Running,
            Err(_) => ChainState::Spent,
        };
        processed.map(|(output, _)| output)
    }

    fn process_batch(
        &mut self,
        batch: &Batch<'_>,
        from: Offset,
    ) -> Result<(ChainOutput, Option<ChainError>), ChainError> {
        let header = *batch.header();
        // Control batches are the log's own; no guest has a say in them.
        if header.is_control() {
            return Ok((self.output(header, None, header.next_offset())?, None));
        }
        let decompressed_max = usize::try_from(self.limits.memory_bytes).unwrap_or(usize::MAX);
        let records = batch.records(decompressed_max)?;
        let input = from_offset(records.as_bytes(), &header, from)?;
        let run = self.run_steps(&header, input)?;

        let next_offset = run
            .stopped_at
            .map_or(header.next_offset(), |delta| header.base_offset.plus(delta));
        if let Some(failure) = run.failure {
            // Nothing precedes the failed record, so there is nothing to give out first.
            if run.failed_at_first {
                return Err(failure);
            }
            let output = self.output(header, run.passing, next_offset)?;
            return Ok((output, Some(failure)));
        }
        Ok((self.output(header, run.passing, next_offset)?, None))
    }

    fn output(
        &self,
        header: BatchHeader,
        passing: Option<Passing<'_>>,
        next_offset: Offset,
    ) -> Result<ChainOutput, ChainError> {
        let passing = passing.filter(|passing| passing.record_count > 0);
        let records = passing
            .as_ref()
            .map(|passing| assemble(&header, &passing.section, passing.record_count))
            .transpose()?;
        Ok(ChainOutput {
            records,
            record_count: passing.map_or(0, |passing| passing.record_count),
            next_offset,
            accumulator: self.accumulator.clone(),
            input: header,
        })
    }

    /// Runs every step over `input`, which is what is left of the batch.
    fn run_steps<'a>(
        &mut self,
        header: &BatchHeader,
        input: Passing<'a>,
    ) -> Result<Run<'a>, ChainError> {
        if input.record_count == 0 {
            return Ok(Run::default());
        }
        let first = read_record(&input.section, &mut 0).map_err(|_| malformed(0))?;
        let first_delta = first.offset_delta;
        let mut run = Run {
            passing: Some(input),
            ..Run::default()
        };
        // What the aggregate answered, kept while later steps may still cut it short.
        let mut aggregated = None;
        for (index, step) in self.steps.iter_mut().enumerate() {
            let Some(passing) = run
                .passing
                .take()
                .filter(|passing| passing.record_count > 0)
            else {
                break;
            };
            let accumulator = match step.kind {
                SmartModuleKind::Aggregate => self.accumulator.as_deref().unwrap_or_default(),
                _ => &[],
            };
            let stepped = step.run(header, passing, accumulator, self.limits, index == 0)?;
            if step.kind == SmartModuleKind::Aggregate {
                aggregated = Some(stepped.passing.clone());
            }
            run.passing = Some(stepped.passing);
            // A later step sees no record from where an earlier one stopped, so it can only stop
            // before that.
            run.stopped_at = stepped.stopped_at.or(run.stopped_at);
            run.failure = stepped.failure.or(run.failure);
        }
        run.failed_at_first = run.stopped_at == Some(first_delta);
        if let Some(aggregated) = aggregated {
            self.take_accumulator(&aggregated, run.stopped_at)?;
        }
        Ok(run)
    }

    /// The accumulator is the value of the last record that the aggregate gave and that is given
    /// out.
    fn take_accumulator(
        &mut self,
        aggregated: &Passing<'_>,
        stopped_at: Option<i64>,
    ) -> Result<(), ChainError> {
        let end = stopped_at.unwrap_or(i64::MAX);
        let mut position = 0;
        let mut last = None;
        for _ in 0..aggregated.record_count {
            let record =
                read_record(&aggregated.section, &mut position).map_err(|_| malformed(0))?;
            if record.offset_delta >= end {
                break;
            }
            last = Some(record.value.unwrap_or_default());
        }
        if let Some(value) = last {
            self.accumulator = Some(value.to_vec());
        }
        Ok(())
    }
}

/// What a run of all steps came to.
#[derive(Default)]
struct Run<'a> {
    passing: Option<Passing<'a>>,
    stopped_at: Option<i64>,
    failure: Option<ChainError>,
    failed_at_first: bool,
}

/// Whether one of `steps` is an aggregate; an error when they make no chain.
fn check_steps(steps: &[Step]) -> Result<bool, ChainError> {
    if steps.is_empty() {
        return Err(ChainError::Empty);
    }
    let mut aggregates = steps
        .iter()
        .filter(|step| step.module.kind() == SmartModuleKind::Aggregate);
    let first = aggregates.next();
    if let (Some(first), Some(second)) = (first, aggregates.next()) {
        return Err(ChainError::SeveralAggregates {
            first: first.name.clone(),
            second: second.name.clone(),
        });
    }
    Ok(first.is_some())
}

/// The part of a batch's records from `from` on.
fn from_offset<'a>(
    section: &'a [u8],
    header: &BatchHeader,
    from: Offset,
) -> Result<Passing<'a>, ChainError> {
    let record_count = usize::try_from(header.record_count).map_err(|_| malformed(0))?;
    let skipped = if from > header.base_offset {
        let delta = from.0.saturating_sub(header.base_offset.0);
        below(section, record_count, delta).map_err(|_| malformed(0))?
    } else {
        Extent {
            bytes: 0,
            record_count: 0,
        }
    };
    Ok(Passing {
        section: Cow::Borrowed(&section[skipped.bytes..]),
        record_count: record_count - skipped.record_count,
    })
}
