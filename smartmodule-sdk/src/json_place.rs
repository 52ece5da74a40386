//! Which field of a JSON text a position is in: serde_json's errors know line and column alone.
//!
//! A walk over the text that knows no types, so that a module has it once, however many types it
//! reads. It is only taken when something has failed, over text that may be malformed.

use std::fmt::Write as _;

/// The longest name of a field that is told.
const NAME_CHARACTERS_MAX: usize = 64;
/// How deep a place is told; what lies deeper is told by its outermost fields.
const DEPTH_MAX: usize = 16;

/// An object or an array that is open at a position.
enum Open {
    /// The bytes of the name read last, without the quotes.
    Object(std::ops::Range<usize>),
    /// The index of the element.
    Array(usize),
}

/// The place as in `legs[2].delay`; empty for the outermost value.
pub(crate) fn place(text: &[u8], line: usize, column: usize) -> String {
    let end = byte_at(text, line, column);
    let mut open = Vec::new();
    let mut at = 0;
    // A string is a field's name when an object waits for one.
    let mut name_is_next = false;
    while at < end {
        match text[at] {
            b'{' => {
                open.push(Open::Object(0..0));
                name_is_next = true;
            }
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => {
                open.pop();
                name_is_next = false;
            }
            b',' => match open.last_mut() {
                Some(Open::Array(index)) => *index += 1,
                Some(Open::Object(_)) => name_is_next = true,
                None => {}
            },
            b'"' => {
                let close = string_end(text, at + 1);
                if name_is_next && let Some(Open::Object(name)) = open.last_mut() {
                    *name = at + 1..close;
                    name_is_next = false;
                }
                at = close;
            }
            _ => {}
        }
        at += 1;
    }
    describe(text, &open)
}

/// The position behind the `column`-th byte of a line; both count from 1.
fn byte_at(text: &[u8], line: usize, column: usize) -> usize {
    let start = text
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum::<usize>();
    (start + column).min(text.len())
}

/// The position of the quote that ends the string, or the text's end.
fn string_end(text: &[u8], mut at: usize) -> usize {
    while at < text.len() && text[at] != b'"' {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at.min(text.len())
}

fn describe(text: &[u8], open: &[Open]) -> String {
    let mut place = String::new();
    for open in open.iter().take(DEPTH_MAX) {
        match open {
            Open::Object(name) if name.is_empty() => {}
            Open::Object(name) => {
                if !place.is_empty() {
                    place.push('.');
                }
                let name = String::from_utf8_lossy(&text[name.clone()]);
                place.extend(name.chars().take(NAME_CHARACTERS_MAX));
            }
            // Writing to a string does not fail.
            Open::Array(index) => drop(write!(place, "[{index}]")),
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_the_field_that_is_open_there() {
        let text = br#"{"a":[1,{"b\"{":"x,]","c":2}],"d":3}"#;
        let at = |needle: &str| {
            let text = std::str::from_utf8(text).unwrap();
            place(
                text.as_bytes(),
                1,
                text.find(needle).unwrap() + needle.len(),
            )
        };

        assert_eq!(at("1"), "a[0]");
        assert_eq!(at("x,]"), r#"a[1].b\"{"#);
        assert_eq!(at("2"), "a[1].c");
        assert_eq!(at("2}"), "a[1]");
        assert_eq!(at("3"), "d");
        assert_eq!(at("3}"), "");
    }

    #[test]
    fn a_text_cut_or_broken_anywhere_has_some_place() {
        let text = br#"}],{"a":[{"\\":"\"#;
        for end in 0..=text.len() {
            for line in 0..3 {
                place(&text[..end], line, usize::MAX / 2);
                place(&text[..end], line, end);
            }
        }
    }
}
