//! How a line becomes a record.

use memchr::memmem;
use thalweg_client::{ProducerRecord, RecordHeader};
use thalweg_types::PartitionIndex;

/// What all records of one command share.
#[derive(Debug, Clone, Copy)]
pub(super) struct RecordForm<'a> {
    /// The key of every record.
    pub(super) key: Option<&'a [u8]>,
    /// What parts a line's key from its value.
    pub(super) key_separator: Option<&'a [u8]>,
    /// The headers of every record.
    pub(super) headers: &'a [RecordHeader<'a>],
    /// The partition of every record.
    pub(super) partition: Option<PartitionIndex>,
}

/// A line that should have a key has none.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no key separator `{separator}`")]
pub(super) struct NoSeparator {
    separator: String,
}

impl<'a> RecordForm<'a> {
    /// The record that `line` stands for.
    pub(super) fn record(&self, line: &'a [u8]) -> Result<ProducerRecord<'a>, NoSeparator> {
        let Some(separator) = self.key_separator else {
            return Ok(self.record_of(None, line));
        };
        let key_end = memmem::find(line, separator).ok_or_else(|| NoSeparator {
            separator: String::from_utf8_lossy(separator).into_owned(),
        })?;
        let value = &line[key_end + separator.len()..];
        Ok(self.record_of(Some(&line[..key_end]), value))
    }

    /// A record with that value and, where given, its own key.
    pub(super) fn record_of(&self, key: Option<&'a [u8]>, value: &'a [u8]) -> ProducerRecord<'a> {
        ProducerRecord {
            key: key.or(self.key),
            value: Some(value),
            headers: self.headers,
            timestamp_ms: None,
            partition: self.partition,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: RecordForm<'static> = RecordForm {
        key: None,
        key_separator: None,
        headers: &[],
        partition: None,
    };

    #[test]
    fn the_first_separator_parts_key_and_value() {
        let form = RecordForm {
            key_separator: Some(b"::"),
            ..PLAIN
        };

        let record = form.record(b"a::b::c").unwrap();

        assert_eq!(record.key, Some(&b"a"[..]));
        assert_eq!(record.value, Some(&b"b::c"[..]));
        let error = form.record(b"a:b").unwrap_err();
        assert!(error.to_string().contains("`::`"));
    }

    #[test]
    fn without_separator_the_line_is_the_value() {
        let form = RecordForm {
            key: Some(b"k"),
            ..PLAIN
        };

        let record = form.record(b"a:b").unwrap();

        assert_eq!(
            (record.key, record.value),
            (Some(&b"k"[..]), Some(&b"a:b"[..]))
        );
    }
}
