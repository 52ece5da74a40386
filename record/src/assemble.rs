//! Puts a header around records that are encoded already.

use crate::batch::Batch;
use crate::codec::Codec;
use crate::compression;
use crate::error::BuildError;
use crate::header::{BATCH_HEADER_BYTES, BatchHeader, CHECKED_POSITION, LENGTH_PREFIX_BYTES};

/// A whole batch of `records`, an uncompressed records section, compressed with `codec`.
///
/// The header's fields are taken as they are, but for the codec, the length and the checksum, which
/// follow from the rest.
///
/// # Errors
/// [`BuildError::TooLarge`].
pub fn assemble_batch(
    header: BatchHeader,
    records: &[u8],
    codec: Codec,
) -> Result<Vec<u8>, BuildError> {
    let mut batch = Vec::new();
    append_batch(header, records, codec, &mut batch)?;
    Ok(batch)
}

/// As [`assemble_batch`], at the end of `out`, which stays as it was when that fails.
///
/// # Errors
/// [`BuildError::TooLarge`].
pub fn append_batch(
    header: BatchHeader,
    records: &[u8],
    codec: Codec,
    out: &mut Vec<u8>,
) -> Result<(), BuildError> {
    let start = out.len();
    out.reserve(BATCH_HEADER_BYTES + records.len());
    out.resize(start + BATCH_HEADER_BYTES, 0);
    compression::compress_into(codec, records, out);
    let sealed = seal_in_place(header, codec, &mut out[start..]);
    if sealed.is_err() {
        out.truncate(start);
    }
    sealed
}

/// Appends `batch` to `out` under another header, with its records as they are: the header's codec
/// and length are the batch's. The checksum is told from the old one and not from the records, so
/// that damaged ones are still found to be.
pub fn append_under_header(batch: &Batch<'_>, mut header: BatchHeader, out: &mut Vec<u8>) {
    let old = batch.bytes();
    header.attributes = header.attributes & !Codec::ATTRIBUTE_MASK
        | batch.header().attributes & Codec::ATTRIBUTE_MASK;
    header.batch_length = batch.header().batch_length;
    let checked = |header: &[u8]| crc32c::crc32c(&header[CHECKED_POSITION..BATCH_HEADER_BYTES]);
    let mut encoded = header.encode();
    // Checksums are linear: what the changed bytes change, shifted over the records behind them.
    let changed = checked(old) ^ checked(&encoded);
    let shifted = crc32c::crc32c_combine(changed, 0, old.len() - BATCH_HEADER_BYTES);
    let crc = batch.header().crc ^ shifted;
    encoded[CHECKED_POSITION - 4..CHECKED_POSITION].copy_from_slice(&crc.to_be_bytes());
    out.reserve(old.len());
    out.extend_from_slice(&encoded);
    out.extend_from_slice(&old[BATCH_HEADER_BYTES..]);
}

/// Writes the header into the front of `batch`, which has room for it there.
pub(crate) fn seal(
    header: BatchHeader,
    codec: Codec,
    mut batch: Vec<u8>,
) -> Result<Vec<u8>, BuildError> {
    seal_in_place(header, codec, &mut batch)?;
    Ok(batch)
}

fn seal_in_place(
    mut header: BatchHeader,
    codec: Codec,
    batch: &mut [u8],
) -> Result<(), BuildError> {
    header.set_codec(codec);
    header.batch_length =
        i32::try_from(batch.len() - LENGTH_PREFIX_BYTES).map_err(|_| BuildError::TooLarge {
            limit_bytes: i32::MAX as usize,
        })?;
    batch[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    write_crc(batch);
    Ok(())
}

/// Writes the checksum of a whole batch into its header.
pub(crate) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CHECKED_POSITION..]);
    batch[CHECKED_POSITION - 4..CHECKED_POSITION].copy_from_slice(&crc.to_be_bytes());
}
