//! `transform logs`

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Deserialize;
use thalweg_client::{ConsumerOptions, EndOffset, StartOffset};
use thalweg_types::{Offset, PartitionIndex, ResourceName, SpuId, TRANSFORM_LOGS_TOPIC, TopicName};

use crate::context::Context;
use crate::error::{CliError, output_error};
use crate::output::note;
use crate::timestamp::{format_timestamp_ms, parse_timestamp_ms};

/// Show what the modules of transforms log.
///
/// Of a transform that is named, or of all. What modules logged is kept for a week. Each line says the module with
/// its version, and from which record of the input on the records were that it was given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform logs late
  $ thalweg transform logs late --follow --level warn
  $ thalweg transform logs --since -1h --output json")]
pub(crate) struct LogsArguments {
    /// Name of the transform.
    name: Option<ResourceName>,

    /// Go on with what is logged from now on.
    #[arg(long, short)]
    follow: bool,

    /// Begin at this time: RFC 3339, milliseconds since 1970, or how long ago, such as -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,

    /// Only the last so many lines.
    #[arg(long, value_name = "COUNT", conflicts_with = "follow")]
    tail: Option<usize>,

    /// Only lines of this level or above.
    #[arg(long, value_enum, default_value_t = Level::Debug, value_name = "LEVEL")]
    level: Level,

    /// How to show the lines: as text, or each as JSON.
    #[arg(long, short = 'O', value_enum, default_value_t, value_name = "FORMAT")]
    output: LineFormat,
}

/// How lines are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum LineFormat {
    /// For people.
    #[default]
    Text,
    /// A JSON document for each.
    Json,
}

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// The value of a record of the topic.
#[derive(Debug, Deserialize)]
struct LogLine {
    transform: ResourceName,
    module: String,
    level: Level,
    topic: TopicName,
    partition: PartitionIndex,
    offset: Offset,
    spu: SpuId,
    text: String,
}

/// A line that is to be shown.
struct Shown {
    time_ms: i64,
    text: String,
}

pub(super) async fn run(arguments: LogsArguments, context: &Context) -> Result<(), CliError> {
    let client = context.client().await?;
    let topic = TopicName::new(TRANSFORM_LOGS_TOPIC).expect("the name keeps Kafka's rules");
    let listed = client.admin().list_transforms().await?;
    if let Some(name) = &arguments.name
        && listed.iter().all(|listed| listed.transform.name != *name)
    {
        note(&format!(
            "there is no transform `{name}` now; what it logged is shown"
        ));
    }
    let topics = client.admin().list_topics().await?;
    if topics.iter().all(|known| known.name != topic) {
        note("nothing was logged yet: the cluster has had no transform");
        return Ok(());
    }
    let options = ConsumerOptions {
        start: arguments.start(context)?,
        end: if arguments.follow {
            EndOffset::Never
        } else {
            EndOffset::LogEnd
        },
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(&topic, options).await?;
    let mut lines = Vec::new();
    while let Some(batch) = consumer.next_batch().await? {
        for record in batch.records() {
            let value = record.value.unwrap_or_default();
            lines.extend(arguments.show(record.timestamp_ms, value));
        }
        if arguments.follow {
            write(&std::mem::take(&mut lines))?;
        }
    }
    // Partitions come one beside the other.
    lines.sort_by_key(|line| line.time_ms);
    let count = arguments.tail.unwrap_or(usize::MAX).min(lines.len());
    write(&lines[lines.len() - count..])
}

impl LogsArguments {
    fn start(&self, context: &Context) -> Result<StartOffset, CliError> {
        let Some(time) = &self.since else {
            return Ok(StartOffset::Beginning);
        };
        let time_ms = parse_timestamp_ms(time, context.clock().now_ms())
            .map_err(|reason| CliError::usage(anyhow::Error::msg(reason)))?;
        Ok(StartOffset::Timestamp(time_ms))
    }

    /// The line as it is shown, if it is wanted.
    fn show(&self, time_ms: i64, value: &[u8]) -> Option<Shown> {
        let line: LogLine = serde_json::from_slice(value).ok()?;
        let is_wanted = self
            .name
            .as_ref()
            .is_none_or(|name| *name == line.transform);
        if !is_wanted || line.level < self.level {
            return None;
        }
        let text = match self.output {
            LineFormat::Json => {
                let mut json: serde_json::Value = serde_json::from_slice(value).ok()?;
                json["time"] = format_timestamp_ms(time_ms).into();
                json.to_string()
            }
            LineFormat::Text => line.text(time_ms),
        };
        Some(Shown { time_ms, text })
    }
}

impl LogLine {
    fn text(&self, time_ms: i64) -> String {
        let Self {
            transform,
            module,
            level,
            topic,
            partition,
            offset,
            spu,
            text,
        } = self;
        let level = match level {
            Level::Debug => "DEBUG",
            Level::Info => "INFO ",
            Level::Warn => "WARN ",
            Level::Error => "ERROR",
        };
        let time = format_timestamp_ms(time_ms);
        format!(
            "{time} {level} {transform} {module} {topic}-{partition} from {offset} on SPU {spu}: {text}"
        )
    }
}

fn write(lines: &[Shown]) -> Result<(), CliError> {
    let mut output = io::stdout().lock();
    for line in lines {
        writeln!(output, "{}", line.text).map_err(output_error)?;
    }
    output.flush().map_err(output_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] = br#"{"transform":"late","module":"late@1.2.0","level":"warn","topic":"flights","partition":2,"offset":41,"spu":1,"text":"odd"}"#;

    fn arguments(name: Option<&str>, level: Level, output: LineFormat) -> LogsArguments {
        LogsArguments {
            name: name.map(|name| name.parse().unwrap()),
            follow: false,
            since: None,
            tail: None,
            level,
            output,
        }
    }

    #[test]
    fn a_line_says_who_logged_it_and_about_what() {
        let shown = arguments(Some("late"), Level::Warn, LineFormat::Text).show(0, LINE);

        assert_eq!(
            shown.unwrap().text,
            "1970-01-01T00:00:00.000Z WARN  late late@1.2.0 flights-2 from 41 on SPU 1: odd"
        );
        let json = arguments(None, Level::Debug, LineFormat::Json).show(0, LINE);
        let json: serde_json::Value = serde_json::from_str(&json.unwrap().text).unwrap();
        assert_eq!(json["time"], "1970-01-01T00:00:00.000Z");
        assert_eq!(json["offset"], 41);
    }

    #[test]
    fn others_and_lesser_ones_are_left_out() {
        let shows = |name, level| {
            let arguments = arguments(name, level, LineFormat::Text);
            arguments.show(0, LINE).is_some()
        };

        assert!(shows(None, Level::Info));
        assert!(!shows(Some("other"), Level::Info));
        assert!(!shows(None, Level::Error));
        let garbage = arguments(None, Level::Debug, LineFormat::Text).show(0, b"{}");
        assert!(garbage.is_none());
    }
}
