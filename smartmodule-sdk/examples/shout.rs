//! A map that sets key, value and headers: upper-case values, with the offset as a header.

use thalweg_smartmodule::{Output, Record, Result, smartmodule};

#[smartmodule(map)]
fn shout(record: &Record) -> Result<Output> {
    let value = record.value.as_str()?.to_uppercase();
    let output = Output::new(value).header("offset", record.offset().to_string());
    Ok(match &record.key {
        Some(key) => output.key(key.clone()),
        None => output,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shouted() {
        let output = shout(&Record::with_key("k", "quiet").with_offset(7)).unwrap();

        assert_eq!(output, Output::new("QUIET").key("k").header("offset", "7"));
    }
}
