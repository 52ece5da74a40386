//! The records that a module is tried on: texts, lines, JSON lines, or a piece of a topic.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use thalweg_client::{
    ConsumerOptions, EndOffset, LookBack, OnOutOfRange, PartitionSelection, StartOffset,
};
use thalweg_types::{Offset, PartitionIndex, TopicName};

use crate::context::Context;
use crate::error::CliError;

/// How many records of a topic are taken unless told otherwise.
const TOPIC_RECORDS: u64 = 100;

/// Where the records come from.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Records")]
#[group(skip)]
pub(super) struct InputArguments {
    /// A record with this value; may be repeated.
    #[arg(long, value_name = "TEXT")]
    text: Vec<String>,

    /// A record of each line of this file.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,

    /// A record of each line of the input.
    #[arg(long)]
    stdin: bool,

    /// Records of this topic of the cluster.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<TopicName>,

    /// The lines are JSON objects as `consume --output json` prints them.
    #[arg(long, conflicts_with_all = ["text", "topic", "key_separator", "raw"])]
    json: bool,

    /// All of the file or the input is one record.
    #[arg(long, conflicts_with_all = ["text", "topic", "key_separator"])]
    raw: bool,

    /// The key of every record.
    #[arg(long, value_name = "KEY", conflicts_with_all = ["topic", "json"])]
    key: Option<String>,

    /// What parts a record's key from its value.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["topic", "key"])]
    key_separator: Option<String>,

    /// The topic's partition. Default: the first.
    #[arg(long, short, value_name = "PARTITION", requires = "topic")]
    partition: Option<PartitionIndex>,

    /// Begin at this offset of the topic. Default: the first.
    #[arg(long, value_name = "OFFSET", requires = "topic", value_parser = clap::value_parser!(i64).range(0..))]
    start: Option<i64>,

    /// A record that stands before the first one, to be looked back at; may be repeated. With
    /// --topic, those before --start are.
    #[arg(long, value_name = "TEXT", conflicts_with = "topic")]
    before: Vec<String>,

    /// How many records of the topic to take. Default: 100.
    #[arg(long, value_name = "N", requires = "topic")]
    records: Option<u64>,
}

/// One record.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct InputRecord {
    /// Its offset; without one, the next.
    pub(super) offset: Option<i64>,
    /// Without one, now.
    pub(super) timestamp_ms: Option<i64>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl InputArguments {
    /// All records.
    ///
    /// # Errors
    /// When they can't be read, or a line is not what it should be; the line is named.
    pub(super) async fn read(&self, context: &Context) -> Result<Vec<InputRecord>, CliError> {
        if let Some(topic) = &self.topic {
            return self.read_topic(topic, context).await;
        }
        if let Some(path) = &self.file {
            let file = std::fs::File::open(path)
                .with_context(|| format!("failed to read {}", path.display()))
                .map_err(CliError::usage)?;
            return self.read_lines(&path.display().to_string(), BufReader::new(file));
        }
        if self.stdin {
            return self.read_lines("the input", std::io::stdin().lock());
        }
        self.text
            .iter()
            .map(|text| self.record(text.as_bytes()))
            .collect::<Result<_, _>>()
            .map_err(CliError::usage)
    }

    fn read_lines(&self, name: &str, mut from: impl BufRead) -> Result<Vec<InputRecord>, CliError> {
        let reading = || format!("failed to read {name}");
        if self.raw {
            let mut value = Vec::new();
            from.read_to_end(&mut value).with_context(reading)?;
            return Ok(vec![self.record(&value)?]);
        }
        let mut records = Vec::new();
        for (index, line) in from.split(b'\n').enumerate() {
            let mut line = line.with_context(reading)?;
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let record = if self.json {
                json_record(&line)
            } else {
                self.record(&line)
            };
            let record = record
                .with_context(|| format!("line {} of {name}", index + 1))
                .map_err(CliError::usage)?;
            records.push(record);
        }
        Ok(records)
    }

    fn record(&self, line: &[u8]) -> anyhow::Result<InputRecord> {
        let (key, value) = match &self.key_separator {
            None => (self.key.as_ref().map(|key| key.as_bytes().to_vec()), line),
            Some(separator) => {
                let at = memchr::memmem::find(line, separator.as_bytes())
                    .ok_or_else(|| anyhow!("it has no key separator `{separator}`"))?;
                (Some(line[..at].to_vec()), &line[at + separator.len()..])
            }
        };
        Ok(InputRecord {
            key,
            value: Some(value.to_vec()),
            ..InputRecord::default()
        })
    }

    async fn read_topic(
        &self,
        topic: &TopicName,
        context: &Context,
    ) -> Result<Vec<InputRecord>, CliError> {
        let wanted = self.records.unwrap_or(TOPIC_RECORDS);
        let options = ConsumerOptions {
            start: self.start.map_or(StartOffset::Beginning, |offset| {
                StartOffset::Offset(Offset(offset))
            }),
            end: EndOffset::LogEnd,
            ..ConsumerOptions::default()
        };
        self.consume(topic, options, wanted, context).await
    }

    /// The records before the first one, as far as one of `looks_back` may want to see them.
    ///
    /// # Errors
    /// When they can't be read.
    pub(super) async fn before(
        &self,
        looks_back: &[LookBack],
        now_ms: i64,
        context: &Context,
    ) -> Result<Vec<InputRecord>, CliError> {
        let (Some(topic), Some(start)) = (&self.topic, self.start) else {
            let before = self.before.iter();
            let records = before.map(|text| self.record(text.as_bytes()));
            return records.collect::<Result<_, _>>().map_err(CliError::usage);
        };
        let mut earliest = Vec::with_capacity(looks_back.len());
        for look_back in looks_back {
            earliest.push(match (look_back.last, look_back.age_ms) {
                (Some(last), _) => {
                    let last = i64::try_from(last).unwrap_or(i64::MAX);
                    StartOffset::Offset(Offset(start.saturating_sub(last).max(0)))
                }
                (None, age_ms) => {
                    let age_ms = i64::try_from(age_ms.unwrap_or(0)).unwrap_or(i64::MAX);
                    StartOffset::Timestamp(now_ms.saturating_sub(age_ms))
                }
            });
        }
        let mut longest = Vec::new();
        for from in earliest {
            let options = ConsumerOptions {
                start: from,
                end: EndOffset::Offset(Offset(start)),
                on_out_of_range: OnOutOfRange::Beginning,
                ..ConsumerOptions::default()
            };
            let records = self.consume(topic, options, u64::MAX, context).await?;
            if records.len() > longest.len() {
                longest = records;
            }
        }
        Ok(longest)
    }

    async fn consume(
        &self,
        topic: &TopicName,
        options: ConsumerOptions,
        wanted: u64,
        context: &Context,
    ) -> Result<Vec<InputRecord>, CliError> {
        let partition = self.partition.unwrap_or(PartitionIndex(0));
        let options = ConsumerOptions {
            partitions: PartitionSelection::Only(vec![partition]),
            ..options
        };
        let mut consumer = context.client().await?.consumer(topic, options).await?;
        let mut records = Vec::new();
        while (records.len() as u64) < wanted
            && let Some(batch) = consumer.next_batch().await?
        {
            let left = wanted - records.len() as u64;
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            records.extend(batch.records().take(left).map(|record| {
                InputRecord {
                    offset: Some(record.offset.0),
                    timestamp_ms: Some(record.timestamp_ms),
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record
                        .headers
                        .iter()
                        .map(|header| (header.key.to_vec(), header.value.map(<[u8]>::to_vec)))
                        .collect(),
                }
            }));
        }
        Ok(records)
    }
}

/// A record as `consume --output json` prints it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLine {
    #[serde(rename = "partition")]
    _partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    key: Option<Value>,
    key_base64: Option<String>,
    value: Option<Value>,
    value_base64: Option<String>,
    #[serde(default)]
    headers: Vec<JsonHeader>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonHeader {
    key: Option<Value>,
    key_base64: Option<String>,
    value: Option<Value>,
    value_base64: Option<String>,
}

fn json_record(line: &[u8]) -> anyhow::Result<InputRecord> {
    let line: JsonLine = serde_json::from_slice(line)?;
    let headers = line
        .headers
        .into_iter()
        .map(|header| {
            let key = json_bytes(header.key, header.key_base64)?;
            let value = json_bytes(header.value, header.value_base64)?;
            Ok((key.unwrap_or_default(), value))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(InputRecord {
        offset: line.offset,
        timestamp_ms: line.timestamp,
        key: json_bytes(line.key, line.key_base64)?,
        value: json_bytes(line.value, line.value_base64)?,
        headers,
    })
}

/// A text is its bytes; any other JSON value is its own text.
fn json_bytes(value: Option<Value>, base64: Option<String>) -> anyhow::Result<Option<Vec<u8>>> {
    if let Some(base64) = base64 {
        return Ok(Some(STANDARD.decode(base64).context("it is not base64")?));
    }
    Ok(match value {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.into_bytes()),
        Some(other) => Some(other.to_string().into_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_is_the_record_that_consume_printed() {
        let line = br#"{"partition":0,"offset":7,"timestamp":5,"key":"k","value_base64":"/w==",
            "headers":[{"key":"h","value":"x"},{"key":"h","value":null}]}"#;

        let record = json_record(line).unwrap();

        assert_eq!((record.offset, record.timestamp_ms), (Some(7), Some(5)));
        assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
        assert_eq!(record.value.as_deref(), Some(&[0xff][..]));
        assert_eq!(record.headers.len(), 2);
        assert_eq!(record.headers[1], (b"h".to_vec(), None));
    }

    #[test]
    fn a_value_that_is_no_text_is_its_json() {
        let record = json_record(br#"{"value":{"a":1}}"#).unwrap();

        assert_eq!(record.value.as_deref(), Some(&br#"{"a":1}"#[..]));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in ["", "[]", "{\"valeu\":1}", "{\"value_base64\":\"?\"}"] {
            assert!(json_record(line.as_bytes()).is_err(), "{line}");
        }
    }
}
