//! Options of the form `KEY=VALUE`.

/// One of them.
pub(crate) type KeyValue = (String, String);

/// Reads `KEY=VALUE`; the value may be empty and may have further `=`.
pub(crate) fn parse_key_value(text: &str) -> Result<KeyValue, String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_equals_sign_parts_key_and_value() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));

        assert_eq!(parse_key_value("a=b=c"), pair("a", "b=c"));
        assert_eq!(parse_key_value("a="), pair("a", ""));
        assert!(parse_key_value("a").is_err());
        assert!(parse_key_value("=b").is_err());
    }
}
