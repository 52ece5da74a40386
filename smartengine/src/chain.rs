//! SmartModules applied one after the other to a stream's batches.
//!
//! A [`Chain`] belongs to one stream and is given its batches in order, on one thread at a time.
//! Records stay in their encoding from step to step; each keeps the offset of the input record
//! that it came from, so that the stream can be resumed at any offset that a [`ChainOutput`]
//! names, and neither skips nor repeats a record.

use std::ops::Range;
use std::sync::Arc;

use thalweg_record::Batch;
use thalweg_types::{LookBack, Offset};

use crate::accumulators::{Accumulators, AccumulatorsFull};
use crate::batch_run::{BatchRun, in_range};
use crate::chunks::Chunks;
use crate::guest::GuestHost;
use crate::key_values::KeyValues;
use crate::look_back::shown;
use crate::open_step::{OpenStep, StepServices};
use crate::output::Wanted;
use crate::seen_keys::SeenKeys;
use crate::step_run::LastValue;
use crate::windowed_step::{SettleError, WindowRun};
use crate::{
    Accumulation, CallLimits, ChainError, ChainOptions, ChainOutput, LookBackWindow, OnFailure,
    SmartModuleKind, Step, StepMetrics, WindowChanges,
};

/// What errors call the leaving out of duplicates, which is no step.
const DEDUP: &str = "dedup";
/// What they call what modules keep under keys of their own.
const KEY_VALUES: &str = "key-value";

/// SmartModules with their state, ready to be given a stream's batches.
pub struct Chain {
    pub(crate) steps: Vec<OpenStep>,
    pub(crate) accumulators: Accumulators,
    /// Absent where all records count.
    pub(crate) seen: Option<SeenKeys>,
    /// Absent where modules may keep nothing.
    pub(crate) key_values: Option<Arc<KeyValues>>,
    pub(crate) limits: CallLimits,
    state_bytes_max: u64,
    pub(crate) chunks: Chunks,
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
        let names: Vec<_> = self.steps.iter().map(OpenStep::name).collect();
        f.debug_struct("Chain")
            .field("steps", &names)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Chain {
    pub(crate) fn open(host: &Arc<GuestHost>, options: ChainOptions) -> Result<Self, ChainError> {
        if options.steps.is_empty() && options.dedup.is_none() {
            return Err(ChainError::Empty);
        }
        let aggregate = aggregate_of(&options.steps)?;
        let limits = options.limits;
        let state_bytes_max = options.state_bytes_max.unwrap_or(limits.memory_bytes);
        let accumulators = match aggregate {
            Some(name) => {
                let by_key = match &options.accumulation {
                    Accumulation::PerPartition { .. } => 0,
                    Accumulation::ByKey { restored, .. } => restored.len(),
                    Accumulation::Windowed { restored, .. } => restored.open.len(),
                };
                Accumulators::new(options.accumulation, state_bytes_max, &host.memory)
                    .map_err(|full| accumulators_full(full, name, by_key, state_bytes_max))?
            }
            None if options.accumulation != Accumulation::default() => {
                return Err(ChainError::AccumulatorWithoutAggregate);
            }
            None => Accumulators::None,
        };
        let key_values = options.key_values.map(|restored| {
            let keys = restored.len();
            let kept = KeyValues::new(restored, state_bytes_max, &host.memory);
            kept.map(Arc::new).map_err(|full| {
                accumulators_full(full, KEY_VALUES.to_owned(), keys, state_bytes_max)
            })
        });
        let services = StepServices {
            offered: options.services,
            key_values: key_values.transpose()?,
            waits: Arc::default(),
        };
        let steps = options
            .steps
            .into_iter()
            .map(|step| {
                let mut services = services.clone();
                if step.module.kind() == SmartModuleKind::Aggregate {
                    // It is given records key by key, in an order that goes by how they were batched.
                    services.key_values = None;
                }
                OpenStep::open(host, step, limits, services)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let chunks = Chunks::new(&steps, &accumulators, limits);
        let seen = options.dedup.map(|dedup| {
            let keys = dedup.restored.keys.len();
            let seen = SeenKeys::new(dedup, state_bytes_max, &host.memory);
            seen.map_err(|full| accumulators_full(full, DEDUP.to_owned(), keys, state_bytes_max))
        });
        Ok(Self {
            steps,
            accumulators,
            seen: seen.transpose()?,
            key_values: services.key_values,
            limits,
            state_bytes_max,
            chunks,
            state: ChainState::Running,
        })
    }

    /// How large the linear memories of all its instances are together, in bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.steps.iter().map(OpenStep::memory_bytes).sum()
    }

    /// What each step has done since the chain was opened.
    #[must_use]
    pub fn metrics(&self) -> Vec<StepMetrics> {
        self.steps
            .iter()
            .map(|step| StepMetrics {
                memory_bytes: step.memory_bytes(),
                ..step.metrics
            })
            .collect()
    }

    /// For how many keys, or windows of keys, its aggregate has accumulators, and how large they are with their keys, in
    /// bytes; of one accumulator for all records its size.
    #[must_use]
    pub fn accumulators_size(&self) -> (usize, usize) {
        match &self.accumulators {
            Accumulators::None => (0, 0),
            Accumulators::One(accumulator) => (1, accumulator.len()),
            Accumulators::ByKey(keyed) => (keyed.len(), keyed.content_bytes()),
            Accumulators::Windowed(windows) => {
                let keyed = &windows.accumulators;
                (keyed.len(), keyed.content_bytes())
            }
        }
    }

    /// How many keys count as seen, and how large they are, in bytes; none where all records count.
    #[must_use]
    pub fn seen_size(&self) -> (usize, usize) {
        self.seen.as_ref().map_or((0, 0), SeenKeys::size)
    }

    /// How far the time has come by which keys are forgotten, in milliseconds since 1970; absent before the first record, and
    /// where all records count.
    #[must_use]
    pub fn seen_time_ms(&self) -> Option<i64> {
        self.seen.as_ref().and_then(SeenKeys::time_ms)
    }

    /// How many entries its modules keep under keys of their own, and how large they are, in bytes.
    #[must_use]
    pub fn key_values_size(&self) -> (usize, usize) {
        let kept = self.key_values.as_ref();
        kept.map_or((0, 0), |kept| kept.size())
    }

    /// The steps that are to be shown records of before the stream's start, and which: each with
    /// its index in the chain. Find the records with [`crate::LookBackSearch`], and show them by
    /// [`Chain::look_back`] before the first [`Chain::process`].
    #[must_use]
    pub fn wants_look_back(&self) -> Vec<(usize, LookBack)> {
        self.steps
            .iter()
            .enumerate()
            .filter_map(|(index, step)| Some((index, step.look_back()?)))
            .collect()
    }

    /// Shows the records of `batch` that lie in `window` to the `look_back` of step `step`. Batches
    /// are shown in order; the records are the log's, whatever the steps before this one do.
    ///
    /// # Errors
    ///
    /// When the module fails on one of them. The chain is spent then.
    pub fn look_back(
        &mut self,
        step: usize,
        batch: Batch<'_>,
        window: &LookBackWindow,
    ) -> Result<(), ChainError> {
        match std::mem::replace(&mut self.state, ChainState::Spent) {
            ChainState::Running => {}
            ChainState::Failing(_) | ChainState::Spent => return Err(ChainError::Spent),
        }
        let header = *batch.header();
        if let Some(step) = self.steps.get_mut(step)
            && !header.is_control()
        {
            let records = batch.records(decompressed_bytes_max(self.limits))?;
            let shown = shown(&header, records.as_bytes(), window)?;
            if shown.record_count > 0 {
                step.begin_batch();
                step.show(&header, &shown.section, shown.record_count)?;
            }
        }
        self.state = ChainState::Running;
        Ok(())
    }

    /// Puts a batch through the chain, leaving out its records below `from`.
    ///
    /// The output may end within the batch (see [`ChainOutput::next_offset`]): then the same batch
    /// is to be given again from there. When a record fails for good, those before it come out
    /// first, and the next call gives the error.
    ///
    /// # Errors
    ///
    /// After any error but [`ChainError::Batch`] and [`ChainError::AwaitsCalls`] the chain is spent.
    pub fn process(&mut self, batch: Batch<'_>, from: Offset) -> Result<ChainOutput, ChainError> {
        self.process_range(batch, from..Offset(i64::MAX))
    }

    /// As [`Chain::process`], with the output's batch at the end of `out`, which saves a copy. An
    /// error leaves `out` as it was.
    ///
    /// # Errors
    ///
    /// As [`Chain::process`].
    pub fn process_into(
        &mut self,
        batch: Batch<'_>,
        from: Offset,
        out: &mut Vec<u8>,
    ) -> Result<ChainOutput, ChainError> {
        let wanted = Wanted {
            out: Some(out),
            unchanged: true,
        };
        self.process_as(batch, from..Offset(i64::MAX), wanted)
    }

    /// As [`Chain::process`], leaving out the batch's records from the end of `range` on, too: there is where to go on.
    ///
    /// # Errors
    ///
    /// As [`Chain::process`].
    pub fn process_range(
        &mut self,
        batch: Batch<'_>,
        range: Range<Offset>,
    ) -> Result<ChainOutput, ChainError> {
        let mut records = Vec::new();
        let wanted = Wanted {
            out: Some(&mut records),
            unchanged: true,
        };
        let output = self.process_as(batch, range, wanted)?;
        Ok(ChainOutput {
            records: (output.record_count > 0).then_some(records),
            ..output
        })
    }

    /// As [`Chain::process_into`], but that a batch of which all records come out as they went in
    /// ([`ChainOutput::is_unchanged`]) adds nothing to `out`, as it can itself be handed on.
    ///
    /// # Errors
    ///
    /// As [`Chain::process`].
    pub fn process_changed_into(
        &mut self,
        batch: Batch<'_>,
        from: Offset,
        out: &mut Vec<u8>,
    ) -> Result<ChainOutput, ChainError> {
        let wanted = Wanted {
            out: Some(out),
            unchanged: false,
        };
        self.process_as(batch, from..Offset(i64::MAX), wanted)
    }

    /// As [`Chain::process`], for a batch that is to be appended: where all of its records come out
    /// as they went in ([`ChainOutput::is_unchanged`]) no output is made of them, as the batch itself
    /// can be appended.
    ///
    /// # Errors
    ///
    /// As [`Chain::process`].
    pub fn process_produced(
        &mut self,
        batch: Batch<'_>,
        from: Offset,
    ) -> Result<ChainOutput, ChainError> {
        let wanted = Wanted {
            out: None,
            unchanged: false,
        };
        self.process_as(batch, from..Offset(i64::MAX), wanted)
    }

    fn process_as(
        &mut self,
        batch: Batch<'_>,
        range: Range<Offset>,
        wanted: Wanted<'_>,
    ) -> Result<ChainOutput, ChainError> {
        match std::mem::replace(&mut self.state, ChainState::Spent) {
            ChainState::Running => {}
            ChainState::Failing(error) => {
                return Err(self.fail(error));
            }
            ChainState::Spent => return Err(ChainError::Spent),
        }
        match self.process_batch(&batch, range, wanted) {
            Ok((output, failure)) => {
                self.state = failure.map_or(ChainState::Running, ChainState::Failing);
                Ok(output)
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// A damaged batch says nothing about the chain, which can be given another one; and one whose modules wait for
    /// answers can be given the same again.
    fn fail(&mut self, error: ChainError) -> ChainError {
        if matches!(error, ChainError::Batch(_) | ChainError::AwaitsCalls) {
            self.state = ChainState::Running;
        }
        error
    }

    fn process_batch(
        &mut self,
        batch: &Batch<'_>,
        range: Range<Offset>,
        wanted: Wanted<'_>,
    ) -> Result<(ChainOutput, Option<ChainError>), ChainError> {
        let header = *batch.header();
        let mut run = BatchRun::new(header);
        // Control batches are the log's own; no guest has a say in them.
        if header.is_control() {
            return run.finish(self, None, &[], wanted);
        }
        let records = batch.records(decompressed_bytes_max(self.limits))?;
        let input = in_range(records.as_bytes(), &header, &range)?;
        if range.end < header.next_offset() {
            run.ends_at(range.end);
        }
        for step in &mut self.steps {
            step.begin_batch();
        }
        run.pass(self, input)?;
        run.finish(self, Some(batch), records.as_bytes(), wanted)
    }

    /// Takes over what a batch changed of an aggregate's accumulators by key.
    pub(crate) fn update_accumulators(
        &mut self,
        changed: &[LastValue<'_>],
    ) -> Result<(), ChainError> {
        let Accumulators::ByKey(keyed) = &mut self.accumulators else {
            return Ok(());
        };
        let updated = keyed.update(changed);
        updated.map_err(|full| self.accumulators_full(full))
    }

    /// Takes over what an aggregate accumulated in windows from the records before the offset delta `end`.
    pub(crate) fn settle_windows(
        &mut self,
        run: WindowRun,
        end: i64,
    ) -> Result<WindowChanges, ChainError> {
        let Accumulators::Windowed(windows) = &mut self.accumulators else {
            return Ok(WindowChanges::default());
        };
        run.settle(windows, end).map_err(|error| match error {
            SettleError::Full(full) => self.accumulators_full(full),
            SettleError::Chain(error) => error,
        })
    }

    /// The error of keys that were seen, and are too many.
    pub(crate) fn state_full(&self, full: AccumulatorsFull) -> ChainError {
        let keys = self.seen.as_ref().map_or(0, |seen| seen.size().0);
        accumulators_full(full, DEDUP.to_owned(), keys, self.state_bytes_max)
    }

    fn accumulators_full(&self, full: AccumulatorsFull) -> ChainError {
        let mut aggregate = self.steps.iter();
        let aggregate = aggregate.find(|step| step.kind() == SmartModuleKind::Aggregate);
        let name = aggregate.map_or("", |step| step.name()).to_owned();
        accumulators_full(full, name, self.accumulators_size().0, self.state_bytes_max)
    }

    /// Counts a record that step `step` failed on and the chain goes on without.
    pub(crate) fn count_failed(&mut self, step: usize) {
        if let Some(step) = self.steps.get_mut(step) {
            match step.on_failure() {
                OnFailure::Stop => {}
                OnFailure::Skip => step.metrics.skipped += 1,
                OnFailure::DeadLetter => step.metrics.dead_lettered += 1,
            }
        }
    }
}

fn decompressed_bytes_max(limits: CallLimits) -> usize {
    usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX)
}

fn accumulators_full(
    full: AccumulatorsFull,
    step: String,
    keys: usize,
    limit_bytes: u64,
) -> ChainError {
    match full {
        AccumulatorsFull::Own => ChainError::AccumulatorsExceeded {
            step,
            keys,
            limit_bytes,
        },
        AccumulatorsFull::Shared => ChainError::MemoryUsedUp { step },
    }
}

/// The name of the aggregate among `steps`, if there is one; an error when they make no chain.
fn aggregate_of(steps: &[Step]) -> Result<Option<String>, ChainError> {
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
    Ok(first.map(|step| step.name.clone()))
}
