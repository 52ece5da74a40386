//! `smartmodule bench`: how fast a module is, beside one that does nothing.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::Serialize;
use thalweg_record::{Batch, BatchBuilder, BatchOptions};
use thalweg_smartengine::{Chain, ChainError, ChainOptions, SmartEngine, Step};
use thalweg_types::{format_bytes, parse_bytes, parse_duration};

use super::local_run::{engine, load};
use super::project;
use crate::commands::{KeyValue, parse_key_value};
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render, Table};

const EMPTY_FILTER: &str = include_str!("../../../templates/smartmodule/empty_filter.wat");
/// The records of one batch together, as a producer fills one.
const BATCH_BYTES: usize = 256 << 10;
/// The largest record: what a topic takes by default.
const RECORD_BYTES_MAX: usize = 1 << 20;
/// How many batches take turns, so that the module does not meet the same bytes each time.
const BATCHES_MAX: usize = 16;

/// Measure how fast a SmartModule is in this process, in the engine that SPUs have, beside a module
/// that does nothing.
///
/// Without --smartmodule-path, the project in this folder is built and measured. The two take turns,
/// batch by batch, so that both meet the same load of the machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg smartmodule bench --record-size 1KiB
  $ thalweg smartmodule bench --file app.log --param word=WARN")]
pub(crate) struct BenchArguments {
    /// The module's file. Default: the project in this folder.
    #[arg(long, visible_alias = "wasm-file", value_name = "FILE")]
    smartmodule_path: Option<PathBuf>,

    /// A parameter for the module; may be repeated.
    #[arg(long = "param", short = 'e', visible_alias = "params", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    params: Vec<KeyValue>,

    /// The records are the lines of this file. Default: lines of numbers.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,

    /// The size of a record's value, where no file is given.
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_record_bytes, conflicts_with = "file")]
    record_size: usize,

    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    duration: Duration,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Measured {
    module: Figures,
    /// A module that does nothing, over the same batches.
    empty: Figures,
}

#[derive(Debug, Serialize)]
struct Figures {
    records_per_second: f64,
    /// 10^6 bytes of keys and values a second.
    megabytes_per_second: f64,
    /// Of one batch.
    p50_ms: f64,
    /// Of one batch.
    p99_ms: f64,
    /// What the module's own memory has grown to.
    memory_bytes: u64,
}

impl Render for Measured {
    fn render(&self) -> String {
        let mut table = Table::new(["", "RECORDS/S", "MB/S", "P50", "P99 PER BATCH", "MEMORY"]);
        for (name, figures) in [("module", &self.module), ("empty module", &self.empty)] {
            table.row([
                name.to_owned(),
                format!("{:.0}", figures.records_per_second),
                format!("{:.1}", figures.megabytes_per_second),
                format!("{:.3} ms", figures.p50_ms),
                format!("{:.3} ms", figures.p99_ms),
                format_bytes(figures.memory_bytes),
            ]);
        }
        table.text()
    }
}

/// A batch, and what is in it.
struct Input {
    bytes: Vec<u8>,
    records: u64,
    value_bytes: u64,
}

#[expect(
    clippy::disallowed_methods,
    reason = "how long the engine takes is the machine's own time"
)]
pub(super) fn run(arguments: &BenchArguments) -> Result<(), CliError> {
    let path = match &arguments.smartmodule_path {
        Some(path) => path.clone(),
        None => project::build(&PathBuf::from("."))?.path,
    };
    let engine = engine()?;
    let (module, _) = load(&engine, &path)?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let step = Step {
        params: arguments.params.iter().cloned().collect(),
        ..Step::new(module, name)
    };
    let empty = wat::parse_str(EMPTY_FILTER).context("the empty module is no module")?;
    let empty = Step::new(engine.load(&empty)?, "empty module");
    let inputs = match &arguments.file {
        Some(file) => lines_of(file)?,
        None => numbers(arguments.record_size)?,
    };
    let mut module = Measurement::new(&engine, step)?;
    let mut empty = Measurement::new(&engine, empty)?;
    let started = Instant::now();
    for input in inputs.iter().cycle() {
        if started.elapsed() >= arguments.duration {
            break;
        }
        module.pass(input)?;
        empty.pass(input)?;
    }
    arguments.output.print(&Measured {
        module: module.figures(),
        empty: empty.figures(),
    })
}

/// A chain of one module, and how it did so far.
struct Measurement {
    chain: Chain,
    batches: Vec<Duration>,
    records: u64,
    value_bytes: u64,
}

impl Measurement {
    fn new(engine: &SmartEngine, step: Step) -> Result<Self, CliError> {
        let chain = engine
            .open_chain(ChainOptions::new(vec![step]))
            .map_err(failed)?;
        Ok(Self {
            chain,
            batches: Vec::new(),
            records: 0,
            value_bytes: 0,
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long the engine takes is the machine's own time"
    )]
    fn pass(&mut self, input: &Input) -> Result<(), CliError> {
        let batch = Batch::parse(&input.bytes)?;
        let mut from = batch.header().base_offset;
        let started = Instant::now();
        while from < batch.header().next_offset() {
            from = self.chain.process(batch, from).map_err(failed)?.next_offset;
        }
        self.batches.push(started.elapsed());
        self.records += input.records;
        self.value_bytes += input.value_bytes;
        Ok(())
    }

    fn figures(mut self) -> Figures {
        let seconds: f64 = self.batches.iter().map(Duration::as_secs_f64).sum();
        self.batches.sort_unstable();
        let last = self.batches.len().saturating_sub(1);
        let at = |percent: usize| {
            let batch = self.batches.get(last * percent / 100);
            batch.map_or(0.0, Duration::as_secs_f64) * 1e3
        };
        Figures {
            records_per_second: self.records as f64 / seconds,
            megabytes_per_second: self.value_bytes as f64 / 1e6 / seconds,
            p50_ms: at(50),
            p99_ms: at(99),
            memory_bytes: self.chain.memory_bytes(),
        }
    }
}

fn failed(error: ChainError) -> CliError {
    CliError::new(ExitCode::SmartModule, error)
}

fn parse_record_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= RECORD_BYTES_MAX)
        .ok_or_else(|| "it must be 1MiB at most".to_owned())
}

/// The lines of a file, up to as many batches as take turns.
fn lines_of(path: &std::path::Path) -> Result<Vec<Input>, CliError> {
    let reading = || format!("failed to read {}", path.display());
    let file = std::fs::File::open(path)
        .with_context(reading)
        .map_err(CliError::usage)?;
    let mut values = Vec::new();
    let mut bytes = 0;
    for line in std::io::BufReader::new(file).split(b'\n') {
        let line = line.with_context(reading)?;
        bytes += line.len();
        values.push(line);
        if bytes >= BATCH_BYTES * BATCHES_MAX {
            break;
        }
    }
    if values.is_empty() {
        let error = anyhow::anyhow!("{} has no lines", path.display());
        return Err(CliError::usage(error));
    }
    batches(&values)
}

/// Numbers, so that every kind that `smartmodule new` makes can deal with them; blanks fill them up.
fn numbers(record_bytes: usize) -> Result<Vec<Input>, CliError> {
    let count = (BATCH_BYTES / record_bytes.max(1)).clamp(1, 10_000) * 4;
    let values: Vec<_> = (0..count)
        .map(|number| {
            let mut value = number.to_string().into_bytes();
            value.resize(record_bytes.max(value.len()), b' ');
            value
        })
        .collect();
    batches(&values)
}

fn batches(values: &[Vec<u8>]) -> Result<Vec<Input>, CliError> {
    let mut inputs = Vec::new();
    let mut rest = values;
    while !rest.is_empty() {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        let mut input = Input {
            bytes: Vec::new(),
            records: 0,
            value_bytes: 0,
        };
        while let Some((value, behind)) = rest.split_first()
            && (input.value_bytes as usize) < BATCH_BYTES
        {
            batch.push(0, None, Some(value), &[])?;
            input.records += 1;
            input.value_bytes += value.len() as u64;
            rest = behind;
        }
        input.bytes = batch.build()?;
        inputs.push(input);
    }
    Ok(inputs)
}
