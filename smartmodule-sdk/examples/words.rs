//! An array_map: one record for each word of a value, with the record's key.

use thalweg_smartmodule::{Result, smartmodule};

#[smartmodule(array_map)]
fn words(text: &str) -> Result<Vec<&str>> {
    Ok(text.split_whitespace().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_becomes_its_words() {
        assert_eq!(words(" two  words").unwrap(), ["two", "words"]);
    }
}
