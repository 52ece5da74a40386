//! A filter with a required parameter: keeps the records whose value contains `--param text=..`.

use std::sync::OnceLock;

use memchr::memmem::Finder;
use thalweg_smartmodule::{Record, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Contains {
    text: String,
}

static FINDER: OnceLock<Finder<'static>> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Contains) -> Result<()> {
    let finder = Finder::new(params.text.as_bytes()).into_owned();
    FINDER.set(finder).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter)]
fn contains(record: &Record) -> Result<bool> {
    let finder = FINDER.get().ok_or_else(|| eyre!("`init` has not run"))?;
    Ok(finder.find(record.value.as_ref()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_kept_when_it_contains_the_text() {
        init(Contains {
            text: "needle".to_owned(),
        })
        .unwrap();

        assert!(contains(&Record::new("a needle in hay")).unwrap());
        assert!(!contains(&Record::new("hay")).unwrap());
    }
}
