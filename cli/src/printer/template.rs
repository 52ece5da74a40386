//! Templates for records: `{{offset}} {{key}} {{value}}`.

use std::io::{self, Write};
use std::str::FromStr;

use thalweg_client::RecordView;
use thalweg_types::PartitionIndex;

use super::Printer;
use crate::timestamp::format_timestamp_ms;

/// A template, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field),
}

/// What a template can show of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Offset,
    Partition,
    Key,
    Value,
    Headers,
    Time,
    Timestamp,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidTemplate {
    #[error(
        "there is no `{{{{{name}}}}}`, known are {{{{offset}}}}, {{{{partition}}}}, {{{{key}}}}, {{{{value}}}}, {{{{headers}}}}, {{{{time}}}} and {{{{timestamp}}}}"
    )]
    UnknownField { name: String },
    #[error("`{{{{` is not closed by `}}}}`")]
    NotClosed,
}

impl Template {
    /// Writes one record.
    pub(super) fn write(
        &self,
        partition: PartitionIndex,
        record: &RecordView<'_>,
        printer: &Printer,
        output: &mut impl Write,
    ) -> io::Result<()> {
        for part in &self.parts {
            match part {
                Part::Text(text) => output.write_all(text.as_bytes())?,
                Part::Field(Field::Offset) => write!(output, "{}", record.offset)?,
                Part::Field(Field::Partition) => write!(output, "{partition}")?,
                Part::Field(Field::Key) => printer.write_bytes(record.key, output)?,
                Part::Field(Field::Value) => printer.write_bytes(record.value, output)?,
                Part::Field(Field::Headers) => write_headers(record, printer, output)?,
                Part::Field(Field::Time) => {
                    output.write_all(format_timestamp_ms(record.timestamp_ms).as_bytes())?;
                }
                Part::Field(Field::Timestamp) => write!(output, "{}", record.timestamp_ms)?,
            }
        }
        Ok(())
    }
}

/// Writes `key=value`, comma-separated.
fn write_headers(
    record: &RecordView<'_>,
    printer: &Printer,
    output: &mut impl Write,
) -> io::Result<()> {
    for (index, header) in record.headers.iter().enumerate() {
        if index > 0 {
            output.write_all(b",")?;
        }
        printer.write_bytes(Some(header.key), output)?;
        output.write_all(b"=")?;
        printer.write_bytes(header.value, output)?;
    }
    Ok(())
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").ok_or(InvalidTemplate::NotClosed)?;
            parts.push(Part::Text(unescape(before)));
            parts.push(Part::Field(name.trim().parse()?));
            rest = after;
        }
        parts.push(Part::Text(unescape(rest)));
        Ok(Self { parts })
    }
}

impl FromStr for Field {
    type Err = InvalidTemplate;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Ok(match name {
            "offset" => Self::Offset,
            "partition" => Self::Partition,
            "key" => Self::Key,
            "value" => Self::Value,
            "headers" => Self::Headers,
            "time" => Self::Time,
            "timestamp" => Self::Timestamp,
            _ => {
                return Err(InvalidTemplate::UnknownField {
                    name: name.to_owned(),
                });
            }
        })
    }
}

/// Replaces `\t`, `\n` and `\\`, which are hard to type at a shell.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('\\') | None => plain.push('\\'),
            Some(other) => plain.extend(['\\', other]),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_fields_are_told_apart() {
        let template: Template = r"{{offset}}\t{{ key }}=\\{{value}}!".parse().unwrap();

        let text = |text: &str| Part::Text(text.to_owned());
        assert_eq!(
            template.parts,
            [
                text(""),
                Part::Field(Field::Offset),
                text("\t"),
                Part::Field(Field::Key),
                text("=\\"),
                Part::Field(Field::Value),
                text("!"),
            ]
        );
    }

    #[test]
    fn a_wrong_template_is_refused_with_the_fields_there_are() {
        let error = "{{ofset}}".parse::<Template>().unwrap_err().to_string();
        assert!(
            error.contains("`{{ofset}}`") && error.contains("{{offset}}"),
            "{error}"
        );

        assert_eq!(
            "{{offset".parse::<Template>(),
            Err(InvalidTemplate::NotClosed)
        );
    }
}
