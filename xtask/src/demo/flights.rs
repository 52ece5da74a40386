//! The input: `examples/flights/data`, unpacked into lines of carrier, tab, flight.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::workspace::root;

/// Which column of a flight is its carrier.
const CARRIER_COLUMN: usize = 9;

/// The unpacked flights.
pub(super) struct Input {
    /// Where they are.
    pub(super) path: PathBuf,
    /// How many bytes all flights have, without keys.
    pub(super) value_bytes: u64,
}

/// Unpacks the flights into `folder`, without the line of headings.
pub(super) fn prepare(folder: &Path) -> Result<Input> {
    let packed = root().join("examples/flights/data/flights.csv.zst");
    let failed = || format!("failed to unpack {}", packed.display());
    let file = File::open(&packed).with_context(failed)?;
    let mut lines =
        BufReader::with_capacity(1 << 20, zstd::Decoder::new(file).with_context(failed)?);
    let path = folder.join("flights.tsv");
    let mut output = BufWriter::with_capacity(1 << 20, File::create(&path).with_context(failed)?);
    let mut line = Vec::new();
    lines.read_until(b'\n', &mut line).with_context(failed)?;
    let mut value_bytes = 0;
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line).with_context(failed)? == 0 {
            break;
        }
        value_bytes += line.len() as u64 - 1;
        let carrier = line.split(|byte| *byte == b',').nth(CARRIER_COLUMN);
        output
            .write_all(carrier.with_context(failed)?)
            .with_context(failed)?;
        output.write_all(b"\t").with_context(failed)?;
        output.write_all(&line).with_context(failed)?;
    }
    output.flush().with_context(failed)?;
    Ok(Input { path, value_bytes })
}
