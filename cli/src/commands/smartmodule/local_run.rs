//! A SmartModule in this process, in the engine that SPUs have.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use thalweg_client::{FailedRecords, OnError};
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Header, Record, RecordIter};
use thalweg_smartengine::{
    Accumulation, Chain, ChainError, ChainOptions, EngineOptions, FailedRecord, LookBackSearch,
    OnFailure, RestoredAccumulators, SmartEngine, SmartModule, Step,
};
use thalweg_types::Offset;

use super::input::InputRecord;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::smartmodule_arguments::AggregateArguments;
use crate::transforms::{Transform, Uses, read_wasm};

/// How many records a batch has here, as a producer's of small records may.
const BATCH_RECORDS: usize = 1000;

/// Starts an engine that keeps nothing on the disk.
pub(super) fn engine() -> Result<SmartEngine, CliError> {
    Ok(SmartEngine::new(EngineOptions {
        guest_threads: 1,
        ..EngineOptions::default()
    })?)
}

/// Reads and compiles the module in a file.
pub(super) fn load(
    engine: &SmartEngine,
    path: &Path,
) -> Result<(Arc<SmartModule>, Vec<u8>), CliError> {
    let wasm = read_wasm(path)?;
    let module = engine.load(&wasm).map_err(|error| {
        CliError::new(ExitCode::SmartModule, error)
            .context(format!("{} is refused", path.display()))
    })?;
    Ok((module, wasm))
}

/// What went through the module.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) records_in: u64,
    pub(super) records_out: u64,
    /// The time that the engine took, without reading and printing.
    pub(super) elapsed: Duration,
}

/// Records on their way through a chain, batch by batch as in a stream.
pub(super) struct LocalRun {
    chain: Chain,
    /// The steps' names and what becomes of records that they fail on.
    steps: Vec<(String, OnError)>,
    pub(super) counts: Counts,
    /// Records that steps failed on and that did not end the run.
    pub(super) failed: Vec<FailedRecords>,
}

/// Why a run ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The module.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// What came out can't be shown.
    #[error(transparent)]
    Show(#[from] std::io::Error),
}

impl LocalRun {
    /// Loads the modules, those that the cluster keeps from there, and opens their chain.
    ///
    /// # Errors
    /// When a module is refused, or can't be had.
    pub(super) async fn open(
        transforms: Vec<Transform>,
        aggregate: &AggregateArguments,
        context: &Context,
    ) -> Result<Self, CliError> {
        let accumulating = aggregate.of_chain(&transforms)?;
        let engine = engine()?;
        let mut names = Vec::with_capacity(transforms.len());
        let mut steps = Vec::with_capacity(transforms.len());
        for transform in transforms {
            let on_error = transform.on_error.clone();
            let step = open_step(&engine, transform, context).await?;
            names.push((step.name.clone(), on_error));
            steps.push(step);
        }
        let initial = accumulating.initial.map(|bytes| bytes.to_vec());
        let accumulation = if accumulating.by_key {
            Accumulation::ByKey {
                initial: initial.unwrap_or_default(),
                restored: RestoredAccumulators::default(),
            }
        } else {
            Accumulation::PerPartition { initial }
        };
        let chain = engine
            .open_chain(ChainOptions {
                accumulation,
                ..ChainOptions::new(steps)
            })
            .map_err(|error| CliError::new(ExitCode::SmartModule, error))?;
        Ok(Self {
            chain,
            steps: names,
            counts: Counts::default(),
            failed: Vec::new(),
        })
    }

    /// Shows the steps that look back what they ask for of `before`, whole batches of the records
    /// before `until`.
    ///
    /// # Errors
    /// When a module fails on one of them.
    pub(super) fn look_back(
        &mut self,
        before: &[Vec<u8>],
        until: Offset,
        now_ms: i64,
    ) -> Result<(), ChainError> {
        let before = before.iter().map(|bytes| Batch::parse(bytes));
        let before = before.collect::<Result<Vec<_>, _>>()?;
        let earliest = before
            .first()
            .map_or(until, |batch| batch.header().base_offset);
        for (step, look_back) in self.chain.wants_look_back() {
            let mut search = LookBackSearch::new(look_back, earliest, until, now_ms);
            while let Some(range) = search.next_read() {
                for batch in &before {
                    let header = batch.header();
                    if header.base_offset < range.end && header.next_offset() > range.start {
                        search.see(batch)?;
                    }
                }
            }
            for batch in &before {
                self.chain.look_back(step, *batch, &search.window())?;
            }
        }
        Ok(())
    }

    /// Puts a batch through and shows what comes out.
    ///
    /// # Errors
    /// When a record fails, after what preceded it was shown.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the engine takes is the machine's own time"
    )]
    pub(super) fn pass(
        &mut self,
        batch: &[u8],
        mut show: impl FnMut(&Record<'_>) -> std::io::Result<()>,
    ) -> Result<(), RunError> {
        let batch = Batch::parse(batch).map_err(ChainError::from)?;
        let header = *batch.header();
        let mut from = header.base_offset;
        while from < header.next_offset() {
            let started = Instant::now();
            let output = self.chain.process(batch, from);
            self.counts.elapsed += started.elapsed();
            let output = output?;
            self.counts.records_in += u64::try_from(output.next_offset.0 - from.0).unwrap_or(0);
            self.counts.records_out += output.record_count as u64;
            from = output.next_offset;
            for failed in output.failed {
                self.count_failed(failed);
            }
            let Some(records) = output.records else {
                continue;
            };
            let passed = Batch::parse(&records).map_err(ChainError::from)?;
            for record in RecordIter::new(*passed.header(), passed.records_bytes()) {
                show(&record.map_err(ChainError::from)?)?;
            }
        }
        Ok(())
    }

    fn count_failed(&mut self, failed: FailedRecord) {
        let Some((step, on_error)) = self.steps.get(failed.step) else {
            return;
        };
        let known = self.failed.iter_mut().find(|known| known.step == *step);
        let count = match known {
            Some(count) => count,
            None => {
                self.failed.push(FailedRecords {
                    step: step.clone(),
                    ..FailedRecords::default()
                });
                self.failed.last_mut().expect("one was just added")
            }
        };
        match on_error {
            OnError::DeadLetter(_) => count.dead_lettered += 1,
            OnError::Stop | OnError::Skip => count.skipped += 1,
        }
        count.last_message = failed.message;
    }
}

async fn open_step(
    engine: &SmartEngine,
    step: Transform,
    context: &Context,
) -> Result<Step, CliError> {
    let (module, name) = match &step.uses {
        Uses::File(path) => (load(engine, path)?.0, step.name()),
        Uses::Registered(module) => {
            let admin = context.client().await?.admin();
            let (revision, wasm) = admin.download_smart_module(module).await?;
            let name = format!("{}@{}", module.name, revision.version);
            let loaded = engine.load(&wasm).map_err(|error| {
                CliError::new(ExitCode::SmartModule, error).context(format!("{name} is refused"))
            })?;
            (loaded, name)
        }
    };
    Ok(Step {
        params: step.with,
        look_back: step.look_back,
        on_failure: match step.on_error {
            OnError::Stop => OnFailure::Stop,
            OnError::Skip => OnFailure::Skip,
            OnError::DeadLetter(_) => OnFailure::DeadLetter,
        },
        ..Step::new(module, name)
    })
}

/// The records in batches of consecutive offsets. Those without an offset follow the one before;
/// `next_offset` is the first one's.
///
/// # Errors
/// When they make no batch.
pub(super) fn batches_of(
    records: &[InputRecord],
    mut next_offset: i64,
    now_ms: i64,
) -> Result<Vec<Vec<u8>>, CliError> {
    let mut whole = Vec::new();
    let mut open: Option<BatchBuilder> = None;
    let mut open_count = 0;
    for record in records {
        let offset = record.offset.unwrap_or(next_offset);
        if offset != next_offset || open_count == BATCH_RECORDS {
            whole.extend(open.take());
            open_count = 0;
        }
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect();
        open.get_or_insert_with(|| batch_at(offset))
            .push(
                record.timestamp_ms.unwrap_or(now_ms),
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )
            .map_err(CliError::usage)?;
        open_count += 1;
        next_offset = offset.saturating_add(1);
    }
    whole.extend(open);
    let built = whole.into_iter().map(BatchBuilder::build);
    built.collect::<Result<_, _>>().map_err(CliError::usage)
}

/// A batch to fill with records.
fn batch_at(offset: i64) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        base_offset: Offset(offset),
        ..BatchOptions::default()
    })
}
