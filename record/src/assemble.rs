//! Puts a header around records that are encoded already.

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
    let mut batch = Vec::with_capacity(BATCH_HEADER_BYTES + records.len());
    batch.resize(BATCH_HEADER_BYTES, 0);
    compression::compress_into(codec, records, &mut batch);
    seal(header, codec, batch)
}

/// Writes the header into the front of `batch`, which has room for it there.
pub(crate) fn seal(
    mut header: BatchHeader,
    codec: Codec,
    mut batch: Vec<u8>,
) -> Result<Vec<u8>, BuildError> {
    header.set_codec(codec);
    header.batch_length =
        i32::try_from(batch.len() - LENGTH_PREFIX_BYTES).map_err(|_| BuildError::TooLarge {
            limit_bytes: i32::MAX as usize,
        })?;
    batch[..BATCH_HEADER_BYTES].copy_from_slice(&header.encode());
    write_crc(&mut batch);
    Ok(batch)
}

/// Writes the checksum of a whole batch into its header.
pub(crate) fn write_crc(batch: &mut [u8]) {
    let crc = crc32c::crc32c(&batch[CHECKED_POSITION..]);
    batch[CHECKED_POSITION - 4..CHECKED_POSITION].copy_from_slice(&crc.to_be_bytes());
}
