//! A filter with a required parameter: keeps the records whose value contains `--param text=..`.

use std::sync::OnceLock;

use thalweg_smartmodule::{Record, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Contains {
    text: String,
}

static CONTAINS: OnceLock<Contains> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Contains) -> Result<()> {
    CONTAINS.set(params).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter)]
fn contains(record: &Record) -> Result<bool> {
    let text = CONTAINS.get().map_or(&[][..], |c| c.text.as_bytes());
    Ok(find(record.value.as_ref(), text))
}

fn find(value: &[u8], text: &[u8]) -> bool {
    text.is_empty() || value.windows(text.len()).any(|window| window == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_when_it_contains_the_text() {
        CONTAINS
            .set(Contains {
                text: "needle".to_owned(),
            })
            .unwrap();

        assert!(contains(&Record::new("a needle in hay")).unwrap());
        assert!(!contains(&Record::new("hay")).unwrap());
    }
}
