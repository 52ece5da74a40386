//! A map: a star in place of every digit, as where numbers of cards or telephones must not be kept.

use thalweg_smartmodule::{Result, smartmodule};

#[smartmodule(map)]
fn masked(value: &[u8]) -> Result<Vec<u8>> {
    let mask = |byte: &u8| if byte.is_ascii_digit() { b'*' } else { *byte };
    Ok(value.iter().map(mask).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_masked() {
        assert_eq!(
            masked(b"card 4111 of A. B.").unwrap(),
            b"card **** of A. B."
        );
    }
}
