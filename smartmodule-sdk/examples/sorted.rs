//! A map for transforms: sends each record to the topic that its value names before the colon.

use thalweg_smartmodule::{Output, Record, Result, smartmodule};

#[smartmodule(map)]
fn sorted(record: &Record) -> Result<Output> {
    let value = record.value.as_str()?;
    Ok(match value.split_once(':') {
        Some((topic, _)) => Output::of(record).to(topic),
        None => Output::of(record),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_topic() {
        let late = sorted(&Record::new("late:UA")).unwrap();
        assert_eq!(late, Output::new("late:UA").to("late"));
        assert_eq!(sorted(&Record::new("UA")).unwrap(), Output::new("UA"));
    }
}
