//! The parameters that `init` is given: a list of names and values.

use alloc::vec::Vec;

/// The list of parameters ends early, or holds a name or value that is not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedParams;

/// Encodes `params` as `init` takes them: a count, then for each the name and the value, each with
/// its length in front; all numbers are u32.
#[must_use]
pub fn write_params<'a>(params: impl ExactSizeIterator<Item = (&'a str, &'a str)>) -> Vec<u8> {
    let mut out = Vec::new();
    write_length(&mut out, params.len());
    for (name, value) in params {
        for text in [name, value] {
            write_length(&mut out, text.len());
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

/// The parameters in `input`, in the order written. Ends after the first malformed one.
pub fn params_iter(
    input: &[u8],
) -> impl Iterator<Item = Result<(&str, &str), MalformedParams>> + '_ {
    let mut rest = input;
    let mut left = read_length(&mut rest);
    core::iter::from_fn(move || {
        let count = match left {
            Some(0) => return None,
            Some(count) => count,
            None => {
                left = Some(0);
                return Some(Err(MalformedParams));
            }
        };
        let param = read_text(&mut rest).zip(read_text(&mut rest));
        left = Some(if param.is_some() { count - 1 } else { 0 });
        Some(param.ok_or(MalformedParams))
    })
}

fn write_length(out: &mut Vec<u8>, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
}

fn read_length(rest: &mut &[u8]) -> Option<u32> {
    let (word, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(u32::from_le_bytes(*word))
}

fn read_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = read_length(rest)? as usize;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    core::str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_read_back_as_written() {
        let params = [("minutes", "60"), ("", ""), ("name", "Zürich")];
        let bytes = write_params(params.iter().copied());

        let read: Result<Vec<_>, _> = params_iter(&bytes).collect();

        assert_eq!(read.unwrap(), params);
    }

    #[test]
    fn a_list_cut_anywhere_is_malformed() {
        let bytes = write_params([("minutes", "60"), ("b", "c")].into_iter());
        for end in 0..bytes.len() {
            assert!(
                params_iter(&bytes[..end]).any(|param| param.is_err()),
                "cut at {end}"
            );
        }
    }
}
