//! Producing at a terminal: a prompt, and an answer to every line.

use std::io::{self, Write};

use thalweg_client::Producer;
use thalweg_types::ErrorCode;

use super::Input;
use super::lines::LineChunks;
use super::patience::Patience;
use super::record_form::RecordForm;
use crate::error::CliError;
use crate::output::note;

/// Sends each line and says how it went, until the end of the input (Ctrl-D).
pub(super) async fn produce(
    producer: &Producer,
    patience: &Patience<'_>,
    form: &RecordForm<'_>,
    input: Input,
) -> Result<(), CliError> {
    let mut chunks = LineChunks::read(input.reader, input.name);
    prompt()?;
    while let Some(chunk) = chunks.next().await? {
        for line in chunk.lines() {
            match form.record(line) {
                Ok(record) => {
                    let delivered = async { producer.send(record).await?.await };
                    match patience.wait(delivered).await {
                        Ok(_) => note("Ok!"),
                        // A record that is too large, say: the next one may fit.
                        Err(error) if error.code() == ErrorCode::InvalidRequest => {
                            CliError::from(error).print();
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => CliError::from(error).print(),
            }
        }
        prompt()?;
    }
    note("");
    Ok(())
}

/// The prompt goes to stderr, as all that is not a result.
fn prompt() -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(b"> ")?;
    stderr.flush()
}
