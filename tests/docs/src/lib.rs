//! Runs the commands that README and the guides show, and decodes the examples of the format pages.
//!
//! A format page keeps its bytes in a fenced block that starts with ```` ```hex NAME ````, where
//! everything after `|` on a line is for the reader. To test another page, add a module beside
//! `tests/formats/record_batch.rs` that asks [`hex_example`] for its blocks.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The bytes of the block `name` on the page `docs/formats/{page}.md`.
///
/// # Panics
/// When the page or the block is missing or has something else than pairs of hex digits: this is
/// for tests.
#[must_use]
pub fn hex_example(page: &str, name: &str) -> Vec<u8> {
    let path = repository()
        .join("docs/formats")
        .join(page)
        .with_extension("md");
    let text =
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    block_bytes(&text, name).unwrap_or_else(|reason| panic!("{}: {reason}", path.display()))
}

/// The ```` ```sh ```` blocks of a page, one after the other.
#[must_use]
pub fn shell_script(page: &str) -> String {
    let mut script = String::new();
    let mut is_in_block = false;
    for line in page.lines() {
        if line.starts_with("```") {
            is_in_block = line == "```sh";
        } else if is_in_block {
            script.push_str(line);
            script.push('\n');
        }
    }
    script
}

fn block_bytes(text: &str, name: &str) -> Result<Vec<u8>, String> {
    let fence = format!("```hex {name}");
    let mut lines = text.lines().skip_while(|line| *line != fence);
    lines.next().ok_or_else(|| format!("no block `{name}`"))?;
    let mut bytes = Vec::new();
    for line in lines {
        if line.starts_with("```") {
            return Ok(bytes);
        }
        let digits = line.split('|').next().unwrap_or_default();
        for pair in digits.split_whitespace() {
            let byte = match pair.len() {
                2 => u8::from_str_radix(pair, 16).ok(),
                _ => None,
            };
            bytes.push(byte.ok_or_else(|| format!("`{pair}` is not a byte, in `{line}`"))?);
        }
    }
    Err(format!("block `{name}` has no end"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_its_hex_without_the_remarks() {
        let page = "text\n```hex other\nff\n```\n```hex one\n00 01 | 02 what\n\nab\n```\nff\n";

        assert_eq!(block_bytes(page, "one"), Ok(vec![0, 1, 0xab]));
    }

    #[test]
    fn a_script_is_the_shell_blocks_alone() {
        let page = "text\n```sh\none\n```\n```text\nno\n```\n```sh\ntwo\n```\n";

        assert_eq!(shell_script(page), "one\ntwo\n");
    }

    #[test]
    fn what_is_not_a_block_of_hex_is_refused() {
        assert!(block_bytes("```hex one\n0\n```", "one").is_err());
        assert!(block_bytes("```hex one\n+1\n```", "two").is_err());
        assert!(block_bytes("```hex one\n00\n", "one").is_err());
    }
}
