//! A filter_map: passes on what follows `--param text=..` in a value, and drops values without it.

use std::sync::OnceLock;

use memchr::memmem::Finder;
use thalweg_smartmodule::{Record, RecordData, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Behind {
    text: String,
}

static FINDER: OnceLock<Finder<'static>> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Behind) -> Result<()> {
    let finder = Finder::new(params.text.as_bytes()).into_owned();
    FINDER.set(finder).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter_map)]
fn behind(record: &Record) -> Result<Option<(Option<RecordData>, RecordData)>> {
    let finder = FINDER.get().ok_or_else(|| eyre!("`init` has not run"))?;
    let value = record.value.as_bytes();
    Ok(finder.find(value).map(|at| {
        let rest = &value[at + finder.needle().len()..];
        (record.key.clone(), rest.into())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_text_passes() {
        init(Behind {
            text: "ERROR ".to_owned(),
        })
        .unwrap();

        let passed = behind(&Record::new("12:00 ERROR no disk")).unwrap();
        assert_eq!(passed, Some((None, "no disk".into())));
        assert_eq!(behind(&Record::new("12:00 INFO started")).unwrap(), None);
    }
}
