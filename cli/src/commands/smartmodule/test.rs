//! `smartmodule test`: records through a module, with no cluster.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::PathBuf;

use clap::ValueEnum;
use thalweg_record::{BatchBuilder, Header};
use thalweg_smartengine::{Accumulation, ChainOptions, Step};
use thalweg_types::PartitionIndex;

use super::input::{InputArguments, InputRecord};
use super::local_run::{LocalRun, RunError, batch_at, engine, load};
use super::project;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::error::{CliError, output_error};
use crate::exit_code::ExitCode;
use crate::output::note;
use crate::printer::{Printer, RecordForm};

/// How many records a batch has here, as a producer's of small records may.
const BATCH_RECORDS: usize = 1000;

/// Run records through a SmartModule in this process, in the engine that SPUs have.
///
/// Without --smartmodule-path, the project in this folder is built and its module is run. What
/// comes out goes to stdout; how many went in and out, and the time, to stderr.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("where records come from").args(["text", "file", "stdin", "topic"]).required(true),
    after_help = "Examples:
  $ thalweg smartmodule test --text 'ERROR no disk' --text 'INFO started'
  $ thalweg smartmodule test --file app.log --param word=WARN
  $ thalweg consume app -B -d -O json | thalweg smartmodule test --stdin --json -k
  $ thalweg smartmodule test --topic app --start 100 --records 50"
)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    input: InputArguments,

    /// The module's file; repeated, one module after the other. Default: the project in this
    /// folder.
    #[arg(long, visible_alias = "wasm-file", value_name = "FILE")]
    smartmodule_path: Vec<PathBuf>,

    /// A parameter for the modules; may be repeated.
    #[arg(long = "param", short = 'e', visible_alias = "params", value_name = "KEY=VALUE", value_parser = parse_key_value)]
    params: Vec<KeyValue>,

    /// What an aggregate starts from.
    #[arg(long, value_name = "TEXT")]
    aggregate_initial: Option<String>,

    /// Show keys too, as `[key] value`.
    #[arg(long, short)]
    key_value: bool,

    /// How records are shown.
    #[arg(long, short = 'O', value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The value and a newline.
    #[default]
    Text,
    /// A JSON object on a line of its own.
    Json,
}

pub(super) async fn run(arguments: TestArguments, context: &Context) -> Result<(), CliError> {
    let mut files = arguments.smartmodule_path;
    if files.is_empty() {
        files.push(project::build(&PathBuf::from("."))?.path);
    }
    let engine = engine()?;
    let mut steps = Vec::with_capacity(files.len());
    for path in &files {
        let (module, _) = load(&engine, path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        steps.push(Step {
            params: arguments.params.iter().cloned().collect(),
            ..Step::new(module, name)
        });
    }
    let chain = engine
        .open_chain(ChainOptions {
            accumulation: Accumulation::PerPartition {
                initial: arguments.aggregate_initial.map(String::into_bytes),
            },
            ..ChainOptions::new(steps)
        })
        .map_err(|error| CliError::new(ExitCode::SmartModule, error))?;
    let records = arguments.input.read(context).await?;

    let printer = Printer {
        escape: std::io::stdout().is_terminal(),
        form: match arguments.output {
            Form::Text => RecordForm::Text {
                with_key: arguments.key_value,
            },
            Form::Json => RecordForm::Json,
        },
    };
    let mut output = BufWriter::new(std::io::stdout().lock());
    let mut run = LocalRun::new(chain);
    let now_ms = context.clock().now_ms();
    let outcome = pass_all(&mut run, &records, now_ms, |record| {
        printer.print_record(PartitionIndex(0), record, &mut output)
    });
    // What came before a failure is shown.
    output.flush().map_err(output_error)?;
    let counts = run.counts;
    note(&format!(
        "{} in, {} out, {:.3} ms",
        counts.records_in,
        counts.records_out,
        counts.elapsed.as_secs_f64() * 1e3
    ));
    outcome.map_err(|error| match error {
        RunError::Show(error) => output_error(error),
        RunError::Chain(error) => CliError::new(ExitCode::SmartModule, error),
        RunError::Build(error) => CliError::usage(error),
    })
}

/// Passes the records in batches of consecutive offsets.
fn pass_all(
    run: &mut LocalRun,
    records: &[InputRecord],
    now_ms: i64,
    mut show: impl FnMut(&thalweg_record::Record<'_>) -> std::io::Result<()>,
) -> Result<(), RunError> {
    let mut next_offset = 0;
    for records in records.chunks(BATCH_RECORDS) {
        let mut batch: Option<BatchBuilder> = None;
        for record in records {
            let offset = record.offset.unwrap_or(next_offset);
            if offset != next_offset
                && let Some(full) = batch.take()
            {
                run.pass(full, &mut show)?;
            }
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|(key, value)| Header {
                    key,
                    value: value.as_deref(),
                })
                .collect();
            batch.get_or_insert_with(|| batch_at(offset)).push(
                record.timestamp_ms.unwrap_or(now_ms),
                record.key.as_deref(),
                record.value.as_deref(),
                &headers,
            )?;
            next_offset = offset.saturating_add(1);
        }
        if let Some(last) = batch {
            run.pass(last, &mut show)?;
        }
    }
    Ok(())
}
