//! Zstandard, decoded without the window buffer that a frame asks for.
//!
//! A streaming decoder allocates the window that the frame claims, up to 128 MiB. So whole frames
//! are decoded straight into the output, which is sized by what the frame's blocks can hold.

use std::cell::RefCell;

use zstd::zstd_safe;
use zstd_safe::zstd_sys::ZSTD_ErrorCode;

use super::CodecError;

thread_local! {
    // A context is some hundred KiB that zstd would otherwise allocate and clear for every batch.
    static CONTEXTS: RefCell<Contexts> = RefCell::new(Contexts {
        compress: zstd_safe::CCtx::create(),
        decompress: zstd_safe::DCtx::create(),
    });
}

struct Contexts {
    compress: zstd_safe::CCtx<'static>,
    decompress: zstd_safe::DCtx<'static>,
}

pub(super) fn compress_into(bytes: &[u8], out: &mut Vec<u8>) {
    let mut compressed = Vec::with_capacity(zstd_safe::compress_bound(bytes.len()));
    CONTEXTS
        .with_borrow_mut(|contexts| {
            let level = zstd::DEFAULT_COMPRESSION_LEVEL;
            contexts.compress.compress(&mut compressed, bytes, level)
        })
        .expect("the buffer has the size that the encoder asks for");
    out.extend_from_slice(&compressed);
}

pub(super) fn decompress(bytes: &[u8], limit: usize) -> Result<Vec<u8>, CodecError> {
    let bound = output_bytes_max(bytes)?;
    let mut out = Vec::with_capacity(bound.min(limit));
    CONTEXTS
        .with_borrow_mut(|contexts| contexts.decompress.decompress(&mut out, bytes))
        .map_err(|code| {
            let out_is_full =
                zstd_safe::is_error_kind(code, ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall);
            if out_is_full && bound > limit {
                CodecError::TooLarge
            } else {
                CodecError::Corrupt(zstd_safe::get_error_name(code).to_owned())
            }
        })?;
    // `with_capacity` may give more than was asked for.
    if out.len() > limit {
        return Err(CodecError::TooLarge);
    }
    Ok(out)
}

const FRAME_MAGIC: u32 = 0xFD2F_B528;
const SKIPPABLE_MAGIC: u32 = 0x184D_2A50;
/// No block holds more, whatever the window.
const BLOCK_CONTENT_BYTES_MAX: usize = 128 * 1024;

/// The most that the frames in `bytes` can hold, by the headers of their blocks and by the content
/// sizes that they give.
fn output_bytes_max(mut bytes: &[u8]) -> Result<usize, CodecError> {
    let mut total = 0_usize;
    while !bytes.is_empty() {
        let magic = u32::from_le_bytes(take(&mut bytes)?);
        if magic & !0xf == SKIPPABLE_MAGIC {
            let length = u32::from_le_bytes(take(&mut bytes)?);
            skip(&mut bytes, length as usize)?;
        } else if magic == FRAME_MAGIC {
            total = total.saturating_add(frame_bytes_max(&mut bytes)?);
        } else {
            return Err(CodecError::Corrupt("it is no zstd frame".to_owned()));
        }
    }
    Ok(total)
}

/// Walks one frame after its magic (RFC 8878, section 3.1.1).
fn frame_bytes_max(bytes: &mut &[u8]) -> Result<usize, CodecError> {
    let [descriptor] = take(bytes)?;
    let is_single_segment = descriptor & 0x20 != 0;
    let window_bytes = usize::from(!is_single_segment);
    let dictionary_id_bytes = [0, 1, 2, 4][usize::from(descriptor & 0b11)];
    skip(bytes, window_bytes + dictionary_id_bytes)?;
    let content_bytes = match (descriptor >> 6, is_single_segment) {
        (0, false) => u64::MAX,
        (0, true) => u8::from_le_bytes(take(bytes)?).into(),
        (1, _) => u64::from(u16::from_le_bytes(take(bytes)?)) + 256,
        (2, _) => u32::from_le_bytes(take(bytes)?).into(),
        _ => u64::from_le_bytes(take(bytes)?),
    };

    let mut total = 0_usize;
    loop {
        let [low, middle, high] = take(bytes)?;
        let header = u32::from_le_bytes([low, middle, high, 0]);
        let size = (header >> 3) as usize;
        let (stored_bytes, held_bytes) = match header >> 1 & 0b11 {
            0 => (size, size),
            1 => (1, size),
            2 => (size, BLOCK_CONTENT_BYTES_MAX),
            _ => return Err(CodecError::Corrupt("a block's type is reserved".to_owned())),
        };
        skip(bytes, stored_bytes)?;
        total = total.saturating_add(held_bytes.min(BLOCK_CONTENT_BYTES_MAX));
        let is_last = header & 1 != 0;
        if is_last {
            break;
        }
    }
    let checksum_bytes = usize::from(descriptor & 0x04 != 0) * 4;
    skip(bytes, checksum_bytes)?;
    Ok(total.min(usize::try_from(content_bytes).unwrap_or(usize::MAX)))
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], CodecError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or_else(cut_short)?;
    *bytes = rest;
    Ok(*taken)
}

fn skip(bytes: &mut &[u8], count: usize) -> Result<(), CodecError> {
    *bytes = bytes.get(count..).ok_or_else(cut_short)?;
    Ok(())
}

fn cut_short() -> CodecError {
    CodecError::Corrupt("the frame is cut short".to_owned())
}
