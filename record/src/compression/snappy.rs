//! Snappy in the two framings that Kafka's clients send.
//!
//! Java's clients write the framing of the xerial library: a magic, two version numbers, then
//! chunks of a length and a raw snappy block. librdkafka, Go's and others write one raw block.

use super::CodecError;

const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// The magic, then the version and the oldest compatible version, both 1.
const XERIAL_HEADER_BYTES: usize = 16;
/// The uncompressed size of a chunk, as in Java's clients.
const CHUNK_BYTES: usize = 32 * 1024;
/// No snappy block expands further than this: its densest element makes 64 bytes of 3.
const EXPANSION_MAX: usize = 22;

pub(super) fn compress_into(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&XERIAL_MAGIC);
    out.extend_from_slice(&1_i32.to_be_bytes());
    out.extend_from_slice(&1_i32.to_be_bytes());
    let mut encoder = snap::raw::Encoder::new();
    for chunk in bytes.chunks(CHUNK_BYTES) {
        let start = out.len() + 4;
        out.resize(start + snap::raw::max_compress_len(chunk.len()), 0);
        let length = encoder
            .compress(chunk, &mut out[start..])
            .expect("the buffer has the size that the encoder asks for");
        out.truncate(start + length);
        out[start - 4..start].copy_from_slice(&(length as u32).to_be_bytes());
    }
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    if !bytes.starts_with(&XERIAL_MAGIC) {
        append_block(bytes, limit, &mut out)?;
        return Ok(out);
    }
    let mut rest = bytes
        .get(XERIAL_HEADER_BYTES..)
        .ok_or_else(|| cut_short("framing"))?;
    while !rest.is_empty() {
        let (length, after) = rest
            .split_first_chunk::<4>()
            .ok_or_else(|| cut_short("chunk length"))?;
        let length = u32::from_be_bytes(*length) as usize;
        let (chunk, after) = after
            .split_at_checked(length)
            .ok_or_else(|| cut_short("chunk"))?;
        append_block(chunk, limit, &mut out)?;
        rest = after;
    }
    Ok(out)
}

fn append_block(block: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let length = snap::raw::decompress_len(block).map_err(corrupt)?;
    if length > block.len().saturating_mul(EXPANSION_MAX) {
        return Err(CodecError::Corrupt(format!(
            "a block of {} bytes claims to hold {length}",
            block.len()
        )));
    }
    let start = out.len();
    if length > limit - start {
        return Err(CodecError::TooLarge);
    }
    // Doubles, but never past the bound.
    if out.capacity() - start < length {
        let wanted = length.max(start).min(limit - start);
        out.reserve_exact(wanted);
    }
    out.resize(start + length, 0);
    snap::raw::Decoder::new()
        .decompress(block, &mut out[start..])
        .map_err(corrupt)?;
    Ok(())
}

fn corrupt(error: snap::Error) -> CodecError {
    CodecError::Corrupt(error.to_string())
}

fn cut_short(what: &str) -> CodecError {
    CodecError::Corrupt(format!("the {what} is cut short"))
}
