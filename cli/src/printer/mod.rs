//! Writes records in the form that the user asked for: of `consume`, and of `smartmodule test`.

mod escaped;
mod json_record;
mod template;

use std::io::{self, Write};

use thalweg_client::{ConsumerBatch, RecordView};
use thalweg_types::PartitionIndex;

use self::escaped::write_escaped;
use self::json_record::write_json;
pub(crate) use self::template::Template;

/// What is shown for an absent key or value.
pub(super) const ABSENT: &[u8] = b"null";

/// Writes records.
pub(crate) struct Printer {
    /// How each record looks.
    pub(crate) form: RecordForm,
    /// Replace what would confuse a terminal.
    pub(crate) escape: bool,
}

/// How a record looks.
pub(crate) enum RecordForm {
    /// A line with the value, after the key where asked for.
    Text { with_key: bool },
    /// A line with a JSON object.
    Json,
    /// The value's bytes.
    Raw,
    /// A line after a template.
    Template(Template),
}

impl Printer {
    /// Writes the records of a batch.
    pub(super) fn print(&self, batch: &ConsumerBatch, output: &mut impl Write) -> io::Result<()> {
        let partition = batch.partition();
        for record in batch.records() {
            self.print_record(partition, &record, output)?;
        }
        Ok(())
    }

    /// Writes one record.
    pub(crate) fn print_record(
        &self,
        partition: PartitionIndex,
        record: &RecordView<'_>,
        output: &mut impl Write,
    ) -> io::Result<()> {
        match &self.form {
            RecordForm::Text { with_key } => {
                if *with_key {
                    output.write_all(b"[")?;
                    self.write_bytes(record.key, output)?;
                    output.write_all(b"] ")?;
                }
                self.write_bytes(record.value, output)?;
                output.write_all(b"\n")
            }
            RecordForm::Json => write_json(partition, record, output),
            RecordForm::Raw => output.write_all(record.value.unwrap_or_default()),
            RecordForm::Template(template) => {
                template.write(partition, record, self, output)?;
                output.write_all(b"\n")
            }
        }
    }

    /// Writes a key or value so that it is safe where it goes.
    pub(super) fn write_bytes(
        &self,
        bytes: Option<&[u8]>,
        output: &mut impl Write,
    ) -> io::Result<()> {
        let bytes = bytes.unwrap_or(ABSENT);
        if self.escape {
            write_escaped(bytes, output)
        } else {
            output.write_all(bytes)
        }
    }
}
