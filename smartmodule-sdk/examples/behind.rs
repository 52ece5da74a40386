//! A filter_map: passes on what follows `--param text=..` in a value, and drops values without it.

use std::sync::OnceLock;

use memchr::memmem::Finder;
use thalweg_smartmodule::{Result, SmartOpt, eyre, smartmodule};

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
fn behind(value: &[u8]) -> Result<Option<&[u8]>> {
    let finder = FINDER.get().ok_or_else(|| eyre!("`init` has not run"))?;
    let found = finder.find(value);
    Ok(found.map(|at| &value[at + finder.needle().len()..]))
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

        let passed = behind(b"12:00 ERROR no disk").unwrap();
        assert_eq!(passed, Some(&b"no disk"[..]));
        assert_eq!(behind(b"12:00 INFO started").unwrap(), None);
    }
}
