//! `produce`: records from stdin or a file into a topic.
//!
//! Input is read in chunks of whole lines on a thread of its own (`lines`), and every line is
//! handed to the producer as a slice of its chunk: nothing is copied or allocated for a record
//! here. At a terminal, each line is one round trip (`interactive`).

mod interactive;
mod lines;
mod patience;
mod record_form;

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use thalweg_client::{Acks, Codec, ProduceError, Producer, ProducerOptions, RecordHeader};
use thalweg_types::{PartitionIndex, TopicName, parse_bytes, parse_duration};

use self::lines::LineChunks;
use self::patience::Patience;
use self::record_form::RecordForm;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::end_request::EndRequest;
use crate::error::CliError;
use crate::failure_notes::FailureNotes;
use crate::output::note;
use crate::smartmodule_arguments::{AggregateArguments, SmartModuleArguments};

/// Produce records to a topic, a line each, from stdin or a file.
///
/// Returns once every record is acknowledged. A line's bytes are the record as they are, without
/// the newline; they need not be UTF-8, and an empty line is an empty record. Asked to end (Ctrl-C,
/// SIGTERM) it produces the whole lines that it has read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg produce greetings
  $ echo 'alice:hello' | thalweg produce greetings --key-separator :
  $ thalweg produce flights --file flights.csv --compression zstd
  $ thalweg produce images --file cat.jpg --raw --key cat
  $ thalweg produce orders --file orders.csv --smartmodule-path check.wasm --on-error skip")]
pub(crate) struct ProduceArguments {
    /// Name of the topic.
    topic: TopicName,

    /// Read this file instead of stdin.
    #[arg(long, short, value_name = "PATH")]
    file: Option<PathBuf>,

    /// The whole input is one record, newlines included.
    #[arg(long)]
    raw: bool,

    /// The key of every record.
    #[arg(long, value_name = "KEY", conflicts_with = "key_separator")]
    key: Option<String>,

    /// What parts a line's key from its value, at its first occurrence.
    #[arg(long, value_name = "SEPARATOR", conflicts_with = "raw", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    key_separator: Option<String>,

    /// A header for every record; may be repeated, also with the same key.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    header: Vec<KeyValue>,

    /// The partition of every record. Default: by its key, or in turn.
    #[arg(long, short, value_name = "PARTITION")]
    partition: Option<PartitionIndex>,

    /// How batches are compressed: none, gzip, snappy, lz4 or zstd.
    #[arg(long, value_name = "CODEC", default_value = "none")]
    compression: Codec,

    /// Who must hold a record before it counts as delivered: 0 (nobody), 1 (the leader) or all
    /// (every in-sync replica).
    #[arg(long, value_name = "ACKS", default_value = "all")]
    acks: Acks,

    /// How long a batch waits for more records. Default: it goes as soon as none is under way.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    linger: Option<Duration>,

    /// The size at which a batch goes without waiting.
    #[arg(long, value_name = "SIZE", value_parser = parse_batch_bytes)]
    batch_size: Option<usize>,

    /// How long a record may take to be acknowledged, retries included.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "30s")]
    timeout: Duration,

    #[command(flatten)]
    smartmodules: SmartModuleArguments,

    #[command(flatten)]
    aggregate: AggregateArguments,
}

pub(crate) async fn run(arguments: ProduceArguments, context: &Context) -> Result<(), CliError> {
    let defaults = ProducerOptions::default();
    let (smartmodules, accumulating) = arguments.smartmodules.invocations(&arguments.aggregate)?;
    let options = ProducerOptions {
        compression: arguments.compression,
        acks: arguments.acks,
        linger: arguments.linger.unwrap_or(defaults.linger),
        batch_bytes: arguments.batch_size.unwrap_or(defaults.batch_bytes),
        request_timeout: arguments.timeout.min(defaults.request_timeout),
        delivery_timeout: arguments.timeout,
        smartmodules,
        accumulator: accumulating.initial,
        accumulate_by_key: accumulating.by_key,
        ..defaults
    };
    // Opened before the cluster is asked, so that a wrong path is told at once.
    let input = Input::open(arguments.file.as_deref())?;
    let client = context.client().await?;
    let patience = Patience::new(client.admin(), &arguments.topic, &options);
    let producer = patience
        .wait(client.producer(&arguments.topic, options))
        .await?;
    let mut failures = FailureNotes::of(producer.failures());
    let headers: Vec<_> = arguments
        .header
        .iter()
        .map(|(key, value)| RecordHeader::new(key, value.as_bytes()))
        .collect();
    let form = RecordForm {
        key: arguments.key.as_deref().map(str::as_bytes),
        key_separator: arguments.key_separator.as_deref().map(str::as_bytes),
        headers: &headers,
        partition: arguments.partition,
    };
    let produced = if arguments.raw {
        produce_whole(&producer, &form, input).await
    } else if input.is_interactive {
        interactive::produce(&producer, &patience, &form, input).await
    } else {
        produce_lines(&producer, &patience, &form, input).await
    };
    // What was read before a failure is delivered all the same.
    let closed = patience.wait(producer.close()).await;
    failures.finish();
    produced?;
    Ok(closed?)
}

/// Where records come from.
struct Input {
    reader: Box<dyn Read + Send>,
    name: String,
    /// `None` where nobody knows, as with a pipe.
    size_bytes: Option<u64>,
    /// Somebody is typing.
    is_interactive: bool,
}

impl Input {
    fn open(file: Option<&Path>) -> Result<Self, CliError> {
        let Some(path) = file else {
            let stdin = io::stdin();
            return Ok(Self {
                is_interactive: stdin.is_terminal(),
                reader: Box::new(stdin),
                name: "stdin".to_owned(),
                size_bytes: None,
            });
        };
        let failed = || format!("failed to open {}", path.display());
        let file = File::open(path).with_context(failed)?;
        let metadata = file.metadata().with_context(failed)?;
        if metadata.is_dir() {
            return Err(CliError::usage(anyhow::anyhow!(
                "{} is a directory",
                path.display()
            )));
        }
        Ok(Self {
            size_bytes: metadata.is_file().then_some(metadata.len()),
            reader: Box::new(file),
            name: path.display().to_string(),
            is_interactive: false,
        })
    }
}

/// One record from the whole input.
async fn produce_whole(
    producer: &Producer,
    form: &RecordForm<'_>,
    mut input: Input,
) -> Result<(), CliError> {
    let mut value = Vec::new();
    input
        .reader
        .read_to_end(&mut value)
        .with_context(|| format!("failed to read {}", input.name))?;
    producer.enqueue(form.record_of(None, &value)).await?;
    Ok(())
}

/// A record from each line.
async fn produce_lines(
    producer: &Producer,
    patience: &Patience<'_>,
    form: &RecordForm<'_>,
    input: Input,
) -> Result<(), CliError> {
    let progress = progress_bar(input.size_bytes);
    let end_request = EndRequest::listen()?;
    let mut chunks = LineChunks::read(input.reader, input.name.clone());
    let mut line_number = 0_u64;
    while let Some(chunk) = chunks.next_until(end_request.asked()).await? {
        for line in chunk.lines() {
            line_number += 1;
            let record = match form.record(line) {
                Ok(record) => record,
                Err(error) => {
                    producer.flush().await?;
                    return Err(not_a_record(line_number, error));
                }
            };
            match patience.wait(producer.enqueue(record)).await {
                Ok(()) => {}
                // Of this line alone; any other failure may be an earlier one's.
                Err(error @ ProduceError::RecordTooLarge { .. }) => {
                    producer.flush().await?;
                    return Err(not_a_record(line_number, error));
                }
                Err(error) => return Err(error.into()),
            }
        }
        progress.inc(chunk.len_bytes());
    }
    patience.wait(producer.flush()).await?;
    progress.finish_and_clear();
    if chunks.are_all() {
        return Ok(());
    }
    let produced = format!("asked to end: {line_number} lines were produced");
    // Of a stream nobody knows how much there would have been.
    if input.size_bytes.is_some() {
        let error = anyhow::anyhow!("{produced} of {}", input.name);
        return Err(CliError::from(error).next_step("produce the lines after them"));
    }
    note(&produced);
    Ok(())
}

/// A line of the input is wrong; those before it are acknowledged.
fn not_a_record(line_number: u64, error: impl Into<anyhow::Error>) -> CliError {
    CliError::from(error)
        .context(format!("line {line_number} can't be a record"))
        .next_step("correct it, and produce from that line on: the lines before it are produced")
}

/// A bar on stderr for an input of known size; nothing where stderr is no terminal.
fn progress_bar(size_bytes: Option<u64>) -> ProgressBar {
    let Some(size_bytes) = size_bytes else {
        return ProgressBar::hidden();
    };
    let style = ProgressStyle::with_template(
        "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
    )
    .expect("the template is a constant");
    ProgressBar::new(size_bytes).with_style(style)
}

fn parse_batch_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| (1..=64 << 20).contains(bytes))
        .ok_or_else(|| "it must be 1 to 64MiB".to_owned())
}
