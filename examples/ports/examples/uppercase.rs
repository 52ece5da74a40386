//! Text in capitals, the key kept: the plainest map.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(map)]
pub fn map(record: &Record) -> Result<(Option<RecordData>, RecordData)> {
    let key = record.key.clone();
    let string = std::str::from_utf8(record.value.as_ref())?;
    Ok((key, string.to_uppercase().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn values_come_out_in_capitals() {
        let out = harness!(map)
            .run([Record::with_key("k", "stra\u{df}e")])
            .unwrap();

        assert_eq!(out[0].key, Some("k".into()));
        assert_eq!(out[0].value.as_str(), Ok("STRASSE"));
    }

    #[test]
    fn what_is_no_text_fails() {
        let failed = harness!(map)
            .run([Record::new("a"), Record::new(vec![0xff])])
            .unwrap_err();

        assert_eq!((failed.offset, failed.passed.len()), (Some(1), 1));
        assert!(failed.message.contains("invalid utf-8"), "{failed}");
    }
}
