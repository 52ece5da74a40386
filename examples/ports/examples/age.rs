//! The records' timestamps: a map from a reading to its time and how long after the first it came.

use std::sync::OnceLock;

use thalweg_smartmodule::dataplane::smartmodule::SmartModuleRecord;
use thalweg_smartmodule::{RecordData, Result, smartmodule};

static FIRST: OnceLock<i64> = OnceLock::new();

#[smartmodule(map)]
pub fn map(record: &SmartModuleRecord) -> Result<(Option<RecordData>, RecordData)> {
    let timestamp = record.timestamp();
    let first = FIRST.get_or_init(|| timestamp);
    let seconds = timestamp.saturating_sub(*first) / 1000;
    let value = format!("{timestamp} +{seconds}s {}", record.value);
    Ok((record.key.clone(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn time_is_counted_from_the_first_record() {
        let at = |ms| SmartModuleRecord::new("21.5").with_timestamp(ms);

        let out = harness!(map)
            .run([at(1_357_034_400_000), at(1_357_034_465_000)])
            .unwrap();

        assert_eq!(out[1].value.as_str(), Ok("1357034465000 +65s 21.5"));
    }
}
