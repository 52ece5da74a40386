//! Keeps the records whose value is another one than the last with their key had.

use thalweg_smartmodule::{Record, Result, ensure, key_value, smartmodule};

#[smartmodule(filter)]
pub fn changed(record: &Record) -> Result<bool> {
    let Some(key) = &record.key else {
        return Ok(true);
    };
    let before = key_value().get(key)?;
    if before.as_ref() == Some(&record.value) {
        return Ok(false);
    }
    match record.value.as_option() {
        Some(value) => key_value().put(key, value)?,
        None => key_value().remove(key)?,
    }
    // What a record puts that fails is not put.
    ensure!(record.value.as_bytes() != b"bad", "that is bad");
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_as_it_is_is_left_out() {
        let state = |value: &str| changed(&Record::with_key("stove", value)).unwrap();

        let kept = ["on", "on", "off", "on"].map(state);

        assert_eq!(kept, [true, false, true, true]);
        assert!(changed(&Record::new("without a key")).unwrap());
    }
}
