//! A SmartModule in this process, in the engine that SPUs have.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use thalweg_record::{Batch, BatchBuilder, BatchOptions, Record, RecordIter};
use thalweg_smartengine::{Chain, ChainError, EngineOptions, SmartEngine, SmartModule};

use crate::error::CliError;
use crate::exit_code::ExitCode;

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
    let wasm = std::fs::read(path)
        .with_context(|| format!("failed to read the SmartModule {}", path.display()))
        .map_err(|error| CliError::new(ExitCode::SmartModule, error))?;
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
    pub(super) counts: Counts,
}

/// Why a run ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// The module.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The records make no batch.
    #[error("the records make no batch")]
    Build(#[from] thalweg_record::BuildError),
    /// What came out can't be shown.
    #[error(transparent)]
    Show(#[from] std::io::Error),
}

impl LocalRun {
    pub(super) fn new(chain: Chain) -> Self {
        Self {
            chain,
            counts: Counts::default(),
        }
    }

    /// Puts records through, as one batch, and shows what comes out.
    ///
    /// # Errors
    /// When a record fails, after what preceded it was shown.
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the engine takes is the machine's own time"
    )]
    pub(super) fn pass(
        &mut self,
        batch: BatchBuilder,
        mut show: impl FnMut(&Record<'_>) -> std::io::Result<()>,
    ) -> Result<(), RunError> {
        let bytes = batch.build()?;
        let batch = Batch::parse(&bytes).map_err(ChainError::from)?;
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
}

/// A batch to fill with records.
pub(super) fn batch_at(offset: i64) -> BatchBuilder {
    BatchBuilder::new(BatchOptions {
        base_offset: thalweg_types::Offset(offset),
        ..BatchOptions::default()
    })
}
