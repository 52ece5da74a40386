//! What `contains`, `shout` and `behind` do one after the other, in one filter_map: to see what
//! three steps cost against one.

use std::sync::OnceLock;

use memchr::memmem::Finder;
use thalweg_smartmodule::{Output, Record, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, SmartOpt)]
struct Loud {
    text: String,
}

static FINDER: OnceLock<Finder<'static>> = OnceLock::new();

#[smartmodule(init)]
fn init(params: Loud) -> Result<()> {
    let finder = Finder::new(params.text.as_bytes()).into_owned();
    FINDER.set(finder).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter_map)]
fn loud(record: &Record) -> Result<Option<Output>> {
    let finder = FINDER.get().ok_or_else(|| eyre!("`init` has not run"))?;
    let Some(at) = finder.find(record.value.as_ref()) else {
        return Ok(None);
    };
    let text = record.value.as_str()?;
    let rest = text
        .get(at + finder.needle().len()..)
        .ok_or_else(|| eyre!("the text ends within a character"))?;
    let output = Output::new(rest.to_uppercase()).header("offset", record.offset().to_string());
    Ok(Some(match &record.key {
        Some(key) => output.key(key.clone()),
        None => output,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_the_text_is_shouted() {
        init(Loud {
            text: "ERROR ".to_owned(),
        })
        .unwrap();

        let output = loud(&Record::new("12:00 ERROR no disk")).unwrap();
        assert_eq!(output, Some(Output::new("NO DISK").header("offset", "0")));
        assert_eq!(loud(&Record::new("12:00 INFO started")).unwrap(), None);
    }
}
