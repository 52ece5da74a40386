//! `consume`: records of a topic to stdout.
//!
//! Batches come from the client whole, and each record is written from where it lies in its batch
//! into one buffer (`printer`). The buffer goes out when no further batch is there yet, so that a
//! catch-up writes large pieces and a live stream shows each record at once.

use std::io::{self, BufWriter, IsTerminal, Write};

use clap::ValueEnum;
use futures::FutureExt;
use thalweg_client::{
    Client, Consumer, ConsumerOptions, EndOffset, GroupOptions, PartitionSelection, StartOffset,
};
use thalweg_types::{Offset, PartitionIndex, TopicName};

use crate::context::Context;
use crate::end_request::EndRequest;
use crate::error::{CliError, output_error};
use crate::failure_notes::FailureNotes;
use crate::output::note;
use crate::printer::{Printer, RecordForm, Template};
use crate::smartmodule_arguments::{AggregateArguments, SmartModuleArguments};
use crate::timestamp::parse_timestamp_ms;

/// How much output is gathered before it is written.
const OUTPUT_BYTES: usize = 256 << 10;

/// Consume the records of a topic.
///
/// Without a start, begins with what is produced from now on; without an end, waits for more.
/// Reads all partitions: records of one partition come in order, those of several as they arrive.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("start position").args(["beginning", "head", "tail", "start", "start_time"]),
    after_help = "Examples:
  $ thalweg consume greetings -B -d
  $ thalweg consume flights -T 10 -k
  $ thalweg consume flights -B -F '{{partition}}:{{offset}} {{key}} {{value}}'
  $ thalweg consume flights -B -d --smartmodule-path late.wasm --param minutes=60
  $ thalweg consume flights -B -d --smartmodule-path late.wasm --on-error skip
  $ thalweg consume flights --transforms chain.yaml
  $ thalweg consume flights -B --group billing

Templates (-F) know {{offset}}, {{partition}}, {{key}}, {{value}}, {{headers}}, {{time}} (RFC 3339)
and {{timestamp}} (milliseconds since 1970), and \\t, \\n and \\\\.

Bytes that are not UTF-8 are written as they are; at a terminal, they and control characters show
as \\xNN. With --output json, such keys and values are in `key_base64` and `value_base64`."
)]
pub(crate) struct ConsumeArguments {
    /// Name of the topic.
    topic: TopicName,

    /// Only this partition; may be repeated. Default: all.
    #[arg(long, short, value_name = "PARTITION")]
    partition: Vec<PartitionIndex>,

    /// Read as a member of this group: its members share the partitions, and go on where the group
    /// has committed. A start position is for partitions of which it has committed nothing.
    #[arg(long, short = 'g', value_name = "GROUP", conflicts_with_all = ["partition", "end"])]
    group: Option<String>,

    /// The name of this member, for one that comes back within 45 s and goes on with its partitions.
    #[arg(long, value_name = "NAME", requires = "group")]
    group_instance_id: Option<String>,

    /// Start at the first record.
    #[arg(long, short = 'B', help_heading = "Position")]
    beginning: bool,

    /// Start N records after the first one of each partition.
    #[arg(long, short = 'H', value_name = "N", help_heading = "Position")]
    head: Option<u64>,

    /// Start N records before the end of each partition.
    #[arg(long, short = 'T', value_name = "N", help_heading = "Position")]
    tail: Option<u64>,

    /// Start at this offset.
    #[arg(long, value_name = "OFFSET", help_heading = "Position", value_parser = clap::value_parser!(i64).range(0..))]
    start: Option<i64>,

    /// Start at the first record of this time or later: RFC 3339, milliseconds since 1970, or for
    /// example -1h.
    #[arg(
        long,
        value_name = "TIME",
        help_heading = "Position",
        allow_hyphen_values = true
    )]
    start_time: Option<String>,

    /// Stop after this offset, in each partition.
    #[arg(long, value_name = "OFFSET", help_heading = "Position", conflicts_with = "disable_continuous", value_parser = clap::value_parser!(i64).range(0..i64::MAX))]
    end: Option<i64>,

    /// Stop at the end of what is there now instead of waiting for more.
    #[arg(long, short = 'd', help_heading = "Position")]
    disable_continuous: bool,

    /// How records are shown.
    #[arg(
        long,
        short = 'O',
        value_enum,
        default_value_t,
        value_name = "FORM",
        help_heading = "Output"
    )]
    output: Form,

    /// Show keys too, as `[key] value`.
    #[arg(long, short, help_heading = "Output")]
    key_value: bool,

    /// Show records by a template; see below.
    #[arg(long, short = 'F', value_name = "TEMPLATE", help_heading = "Output", conflicts_with_all = ["output", "key_value"])]
    format: Option<Template>,

    #[command(flatten)]
    smartmodules: SmartModuleArguments,

    #[command(flatten)]
    aggregate: AggregateArguments,
}

/// How records are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// The value and a newline.
    #[default]
    Text,
    /// A JSON object on a line of its own.
    Json,
    /// The bytes of the values and nothing else.
    Raw,
}

pub(crate) async fn run(arguments: ConsumeArguments, context: &Context) -> Result<(), CliError> {
    let (smartmodules, accumulating) = arguments
        .smartmodules
        .clone()
        .invocations(&arguments.aggregate)?;
    let options = ConsumerOptions {
        partitions: match arguments.partition.as_slice() {
            [] => PartitionSelection::All,
            some => PartitionSelection::Only(some.to_vec()),
        },
        start: arguments.start_offset(context)?,
        end: arguments.end_offset(),
        smartmodules,
        accumulator: accumulating.initial,
        accumulate_by_key: accumulating.by_key,
        group: arguments.group_options(),
        ..ConsumerOptions::default()
    };
    let printer = Printer {
        escape: io::stdout().is_terminal(),
        form: match (&arguments.format, arguments.output) {
            (Some(template), _) => RecordForm::Template(template.clone()),
            (None, Form::Text) => RecordForm::Text {
                with_key: arguments.key_value,
            },
            (None, Form::Json) => RecordForm::Json,
            (None, Form::Raw) => RecordForm::Raw,
        },
    };
    let client = context.client().await?;
    if options.group.is_some() {
        return consume_in_group(&client, &arguments, options, &printer).await;
    }
    let mut consumer = client.consumer(&arguments.topic, options).await?;
    arguments.note_how_to_stop();
    print_all(&mut consumer, &printer, Flush::WhenIdle).await
}

/// Prints until the consumer ends, or somebody wants it to end: then it gives its partitions up, and what
/// was printed is committed.
async fn consume_in_group(
    client: &Client,
    arguments: &ConsumeArguments,
    options: ConsumerOptions,
    printer: &Printer,
) -> Result<(), CliError> {
    let end_request = EndRequest::listen()?;
    let mut consumer = tokio::select! {
        consumer = client.consumer(&arguments.topic, options) => consumer?,
        // It is in no group as yet, or leaves it as it is dropped.
        () = end_request.asked() => return Ok(()),
    };
    arguments.note_how_to_stop();
    // Only what is out counts as read, as the group commits it.
    let printed = tokio::select! {
        printed = print_all(&mut consumer, printer, Flush::EachBatch) => printed,
        () = end_request.asked() => Ok(()),
    };
    consumer.close().await;
    printed
}

/// When what is printed goes out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flush {
    WhenIdle,
    EachBatch,
}

/// Prints until the consumer ends.
async fn print_all(
    consumer: &mut Consumer,
    printer: &Printer,
    flush: Flush,
) -> Result<(), CliError> {
    let mut output = BufWriter::with_capacity(OUTPUT_BYTES, io::stdout().lock());
    let mut failures = FailureNotes::of(consumer.failures());
    loop {
        // `next_batch` is cancel-safe: asking without waiting takes nothing away.
        let ready = consumer.next_batch().now_or_never();
        let next = match ready {
            Some(next) => next,
            None => {
                output.flush().map_err(output_error)?;
                // Both may be dropped half-way and asked again.
                tokio::select! {
                    next = consumer.next_batch() => next,
                    () = failures.tell_next() => continue,
                }
            }
        };
        match next {
            Ok(Some(batch)) => {
                printer.print(&batch, &mut output).map_err(output_error)?;
                if flush == Flush::EachBatch {
                    output.flush().map_err(output_error)?;
                }
            }
            Ok(None) => {
                output.flush().map_err(output_error)?;
                failures.finish();
                return Ok(());
            }
            Err(error) => {
                // What came before the failure is shown.
                output.flush().map_err(output_error)?;
                failures.finish();
                return Err(error.into());
            }
        }
    }
}

impl ConsumeArguments {
    /// To somebody at a terminal, where it does not end by itself.
    fn note_how_to_stop(&self) {
        let is_endless = !self.disable_continuous && self.end.is_none();
        if is_endless && io::stdout().is_terminal() {
            note(&format!("Consuming `{}`, Ctrl-C to stop.", self.topic));
        }
    }

    fn group_options(&self) -> Option<GroupOptions> {
        let mut group = GroupOptions::new(self.group.as_ref()?);
        group.instance_id.clone_from(&self.group_instance_id);
        Some(group)
    }

    fn start_offset(&self, context: &Context) -> Result<StartOffset, CliError> {
        if self.beginning {
            return Ok(StartOffset::Beginning);
        }
        if let Some(count) = self.head {
            return Ok(StartOffset::FromBeginning(count));
        }
        if let Some(count) = self.tail {
            return Ok(StartOffset::FromEnd(count));
        }
        if let Some(offset) = self.start {
            if let Some(end) = self.end.filter(|end| *end < offset) {
                return Err(CliError::usage(anyhow::anyhow!(
                    "--end {end} comes before --start {offset}"
                )));
            }
            return Ok(StartOffset::Offset(Offset(offset)));
        }
        let Some(time) = &self.start_time else {
            return Ok(StartOffset::End);
        };
        let time_ms = parse_timestamp_ms(time, context.clock().now_ms())
            .map_err(|reason| CliError::usage(anyhow::Error::msg(reason)))?;
        Ok(StartOffset::Timestamp(time_ms))
    }

    fn end_offset(&self) -> EndOffset {
        match self.end {
            Some(last) => EndOffset::Offset(Offset(last + 1)),
            None if self.disable_continuous => EndOffset::LogEnd,
            None => EndOffset::Never,
        }
    }
}
