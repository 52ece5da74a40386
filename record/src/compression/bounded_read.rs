//! Reads a decoder to its end, into memory that grows with what it gives and never past a bound.

use std::io::Read;

use super::CodecError;

/// The first guess at how much larger the output is than the input.
const GROWTH_GUESS: usize = 4;
const BUFFER_BYTES_MIN: usize = 4096;

pub(super) fn read_bounded(
    mut decoder: impl Read,
    input_bytes: usize,
    limit: usize,
) -> Result<Vec<u8>, CodecError> {
    let guess = input_bytes
        .saturating_mul(GROWTH_GUESS)
        .max(BUFFER_BYTES_MIN);
    let mut out = vec![0; guess.min(limit)];
    let mut filled = 0;
    loop {
        if filled == out.len() {
            if filled == limit {
                return past_the_end(decoder, out);
            }
            let larger = filled.saturating_mul(2).max(BUFFER_BYTES_MIN).min(limit);
            // Exactly, since `Vec` would round up past the bound.
            out.reserve_exact(larger - filled);
            out.resize(larger, 0);
        }
        match decoder.read(&mut out[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    out.truncate(filled);
    Ok(out)
}

/// Asks a decoder that has filled the bound whether it is done.
fn past_the_end(mut decoder: impl Read, out: Vec<u8>) -> Result<Vec<u8>, CodecError> {
    match decoder.read(&mut [0])? {
        0 => Ok(out),
        _ => Err(CodecError::TooLarge),
    }
}
