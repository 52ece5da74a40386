//! `smartmodule test`: records through a module, with no cluster.

use std::io::{BufWriter, IsTerminal, Write};
use std::path::Path;

use clap::ValueEnum;
use thalweg_types::{Offset, PartitionIndex};

use super::input::InputArguments;
use super::local_run::{LocalRun, RunError, batches_of};
use super::project;
use crate::context::Context;
use crate::error::{CliError, output_error};
use crate::exit_code::ExitCode;
use crate::failure_notes;
use crate::output::note;
use crate::printer::{Printer, RecordForm};
use crate::smartmodule_arguments::{AggregateArguments, SmartModuleArguments};

/// Run records through a SmartModule in this process, in the engine that SPUs have.
///
/// Where no module is named, the project in this folder is built and its module is run. Chains,
/// error policies, look-back and accumulators are those of a stream. What comes out goes to stdout;
/// how many went in and out, and the time, to stderr.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("where records come from").args(["text", "file", "stdin", "topic"]).required(true),
    after_help = "Examples:
  $ thalweg smartmodule test --text 'ERROR no disk' --text 'INFO started'
  $ thalweg smartmodule test --file app.log --param word=WARN
  $ thalweg consume app -B -d -O json | thalweg smartmodule test --stdin --json -k
  $ thalweg smartmodule test --topic app --start 100 --records 50
  $ thalweg smartmodule test --file app.log --transforms chain.yaml
  $ thalweg smartmodule test --text b --text a --before a --lookback-last 1"
)]
pub(crate) struct TestArguments {
    #[command(flatten)]
    input: InputArguments,

    #[command(flatten)]
    smartmodules: SmartModuleArguments,

    #[command(flatten)]
    aggregate: AggregateArguments,

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
    let steps = arguments
        .smartmodules
        .chain_or(|| Ok(project::build(Path::new("."))?.path))?;
    let looks_back: Vec<_> = steps.iter().filter_map(|step| step.look_back).collect();
    let mut run = LocalRun::open(steps, &arguments.aggregate, context).await?;
    let now_ms = context.clock().now_ms();
    let before = arguments.input.before(&looks_back, now_ms, context).await?;
    let records = arguments.input.read(context).await?;
    let first_offset = records.first().and_then(|record| record.offset);
    let before_count = i64::try_from(before.len()).unwrap_or(i64::MAX);
    let first_offset = first_offset.unwrap_or(before_count);
    let before = batches_of(&before, first_offset - before_count, now_ms)?;
    let batches = batches_of(&records, first_offset, now_ms)?;

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
    let outcome = run
        .look_back(&before, Offset(first_offset), now_ms)
        .map_err(RunError::from)
        .and_then(|()| {
            batches.iter().try_for_each(|batch| {
                run.pass(batch, |record| {
                    printer.print_record(PartitionIndex(0), record, &mut output)
                })
            })
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
    for failed in &run.failed {
        for line in failure_notes::lines(failed) {
            note(&line);
        }
    }
    outcome.map_err(|error| match error {
        RunError::Show(error) => output_error(error),
        RunError::Chain(error) => CliError::new(ExitCode::SmartModule, error),
    })
}
