//! Good records normalised, bad ones left out: a filter_map over `name,amount`.

use thalweg_smartmodule::{Record, RecordData, Result, smartmodule};

#[smartmodule(filter_map)]
pub fn filter_map(record: &Record) -> Result<Option<(Option<RecordData>, RecordData)>> {
    let Some((name, amount)) = valid(record.value.as_ref()) else {
        return Ok(None);
    };
    let normal = format!("{},{amount:.2}", name.to_lowercase());
    Ok(Some((Some(RecordData::from(name)), normal.into())))
}

/// A name of letters and an amount above zero.
fn valid(line: &[u8]) -> Option<(&str, f64)> {
    let (name, amount) = std::str::from_utf8(line).ok()?.split_once(',')?;
    let amount: f64 = amount.trim().parse().ok()?;
    let name = name.trim();
    let is_name = !name.is_empty() && name.chars().all(char::is_alphabetic);
    (is_name && amount.is_finite() && amount > 0.0).then_some((name, amount))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn only_what_is_valid_passes_and_in_its_normal_form() {
        let lines = ["Ada, 12.5", "Ada", "7,7", "Bob,-1", "Bob,NaN", " Cleo ,3"];

        let out = harness!(filter_map).run(lines).unwrap();

        assert_eq!(out.len(), 2);
        assert_eq!(out[0].value.as_str(), Ok("ada,12.50"));
        assert_eq!(
            (out[1].offset(), out[1].value.as_str()),
            (5, Ok("cleo,3.00"))
        );
        assert_eq!(out[1].key, Some("Cleo".into()));
    }
}
