//! Bytes for a terminal: text as it is, the rest as `\xNN`.
//!
//! Records come from anywhere. Written raw, they could move the cursor, set the window's title, or
//! worse.

use std::io::{self, Write};

/// Writes `bytes`, with control characters (but for tab and newline) and what is not UTF-8 as
/// `\xNN`.
pub(super) fn write_escaped(bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        for part in chunk.valid().split_inclusive(is_harmful) {
            let harmful = part.chars().next_back().filter(|last| is_harmful(*last));
            let harmful_bytes = harmful.map_or(0, char::len_utf8);
            let (plain, harmful) = part.split_at(part.len() - harmful_bytes);
            output.write_all(plain.as_bytes())?;
            write_hex(harmful.as_bytes(), output)?;
        }
        write_hex(chunk.invalid(), output)?;
    }
    Ok(())
}

fn is_harmful(character: char) -> bool {
    character.is_control() && !matches!(character, '\t' | '\n')
}

fn write_hex(bytes: &[u8], output: &mut impl Write) -> io::Result<()> {
    bytes
        .iter()
        .try_for_each(|byte| write!(output, "\\x{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut output = Vec::new();
        write_escaped(bytes, &mut output).unwrap();
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn text_is_left_as_it_is() {
        assert_eq!(escaped("Zürich\t→ 42\n".as_bytes()), "Zürich\t→ 42\n");
    }

    #[test]
    fn what_could_drive_the_terminal_is_shown_instead() {
        assert_eq!(
            escaped(b"\x1b[2Ja\rb\xffc\x00"),
            "\\x1b[2Ja\\x0db\\xffc\\x00"
        );
        // C1 controls are two bytes in UTF-8.
        assert_eq!(escaped("\u{9b}2J".as_bytes()), "\\xc2\\x9b2J");
    }
}
