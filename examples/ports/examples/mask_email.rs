//! Text masked in place, in bytes of any encoding: a map that hides the name in every e-mail
//! address, with the regular expression compiled once.

use std::sync::LazyLock;

use regex::bytes::{Regex, RegexBuilder};
use thalweg_smartmodule::{Record, RecordData, Result, eyre, smartmodule};

static EMAIL: LazyLock<Result<Regex, regex::Error>> = LazyLock::new(|| {
    RegexBuilder::new(r"([a-z0-9])[a-z0-9._%+-]*@([a-z0-9.-]+\.[a-z]{2,})")
        .unicode(false)
        .case_insensitive(true)
        .build()
});

#[smartmodule(map)]
pub fn map(record: &Record) -> Result<(Option<RecordData>, RecordData)> {
    let email = EMAIL.as_ref().map_err(|error| eyre!("{error}"))?;
    let masked = email.replace_all(record.value.as_ref(), &b"$1***@$2"[..]);
    Ok((record.key.clone(), masked.into_owned().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn names_are_hidden_and_the_rest_stays() {
        let lines = ["from Ada.Lovelace@example.org to bob@x.co: hi", "no @ here"];

        let out = harness!(map).run(lines).unwrap();

        assert_eq!(
            out[0].value.as_str(),
            Ok("from A***@example.org to b***@x.co: hi")
        );
        assert_eq!(out[1].value.as_str(), Ok("no @ here"));
    }
}
