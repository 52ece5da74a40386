//! The codecs: compress whatever is given, decompress up to a bound.
//!
//! Nothing here trusts a length that compressed bytes claim. Output grows with what was really
//! decoded, or is sized by a claim that the input is long enough to make true.

mod bounded_read;
mod snappy;
mod zstandard;

use std::io::Write;

use crate::codec::Codec;
use crate::error::BatchError;
use bounded_read::read_bounded;

/// What goes wrong inside a codec, before [`BatchError`] names the codec.
enum CodecError {
    TooLarge,
    Corrupt(String),
}

impl From<std::io::Error> for CodecError {
    fn from(error: std::io::Error) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// `bytes` compressed with `codec`.
#[must_use]
pub fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress_into(codec, bytes, &mut out);
    out
}

/// Appends `bytes` compressed with `codec` to `out`.
pub fn compress_into(codec: Codec, bytes: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(bytes),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::default());
            encoder.write_all(bytes).expect("memory takes every write");
            encoder.finish().expect("memory takes every write");
        }
        Codec::Snappy => snappy::compress_into(bytes, out),
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(lz4_frame(), out);
            encoder.write_all(bytes).expect("memory takes every write");
            encoder.finish().expect("memory takes every write");
        }
        Codec::Zstd => zstandard::compress_into(bytes, out),
    }
}

/// The frame that Java's clients write too: independent blocks of 64 KiB.
fn lz4_frame() -> lz4_flex::frame::FrameInfo {
    lz4_flex::frame::FrameInfo::new()
        .block_size(lz4_flex::frame::BlockSize::Max64KB)
        .block_mode(lz4_flex::frame::BlockMode::Independent)
}

/// What `bytes` were before `codec` compressed them.
///
/// # Errors
/// [`BatchError::TooLarge`] beyond `max_decompressed_bytes`, and [`BatchError::Decompress`] when
/// they are not the codec's.
pub fn decompress(
    codec: Codec,
    bytes: &[u8],
    max_decompressed_bytes: usize,
) -> Result<Vec<u8>, BatchError> {
    let limit = max_decompressed_bytes;
    let result = match codec {
        Codec::None if bytes.len() > limit => Err(CodecError::TooLarge),
        Codec::None => Ok(bytes.to_vec()),
        Codec::Gzip => read_bounded(
            flate2::bufread::MultiGzDecoder::new(bytes),
            bytes.len(),
            limit,
        ),
        Codec::Snappy => snappy::decompress(bytes, limit),
        Codec::Lz4 => read_bounded(
            lz4_flex::frame::FrameDecoder::new(bytes),
            bytes.len(),
            limit,
        ),
        Codec::Zstd => zstandard::decompress(bytes, limit),
    };
    result.map_err(|error| match error {
        CodecError::TooLarge => BatchError::TooLarge {
            codec,
            limit_bytes: limit,
        },
        CodecError::Corrupt(reason) => BatchError::Decompress { codec, reason },
    })
}

#[cfg(test)]
mod tests;
