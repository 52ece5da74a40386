//! Offset, time and headers in and out, beyond what fluvio has: a map that says in headers where a
//! record was, sets its key from a header, and takes its time from one.

use thalweg_smartmodule::{Context, Output, Record, Result, smartmodule};

#[smartmodule(map)]
pub fn enrich(record: &Record) -> Result<Output> {
    let headers = record.headers();
    let mut output = Output::of(record)
        .without_header("device")
        .header("source-offset", record.offset().to_string())
        .header("source-time", record.timestamp().to_string());
    if let Some(device) = headers.get("device") {
        output = output.key(device);
    }
    if let Some(measured) = headers.get("measured-at") {
        let measured: i64 = std::str::from_utf8(measured)?
            .parse()
            .context("the header `measured-at` holds no milliseconds")?;
        output = output.timestamp(measured);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn a_record_tells_where_it_was() {
        let record = Record::with_key("old", "21.5")
            .with_offset(7)
            .with_timestamp(1000)
            .with_header("device", "d-1")
            .with_header("measured-at", "900");

        let out = harness!(enrich).run([record]).unwrap();

        let out = &out[0];
        assert_eq!(out.key, Some("d-1".into()));
        assert_eq!((out.offset(), out.timestamp()), (7, 900));
        assert_eq!(out.headers().get("device"), None);
        assert_eq!(out.headers().get("source-offset"), Some(&b"7"[..]));
        assert_eq!(out.headers().get("source-time"), Some(&b"1000"[..]));
    }

    #[test]
    fn a_header_that_is_no_time_fails() {
        let record = Record::new("x").with_header("measured-at", "noon");

        let failed = harness!(enrich).run([record]).unwrap_err();

        assert!(
            failed.message.starts_with("the header `measured-at`"),
            "{failed}"
        );
    }
}
