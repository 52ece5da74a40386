//! A regular expression as a required parameter: keeps the records whose value matches
//! `--param regex=..`.
//!
//! Over bytes and without Unicode's tables: values need not be UTF-8, and the module is half as
//! large. `\d`, `\w` and `\b` mean ASCII then.

use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};
use thalweg_smartmodule::dataplane::smartmodule::{
    SmartModuleExtraParams, SmartModuleInitError, SmartModuleRecord,
};
use thalweg_smartmodule::{Result, eyre, smartmodule};

static REGEX: OnceLock<Regex> = OnceLock::new();

#[smartmodule(init)]
fn init(params: SmartModuleExtraParams) -> Result<()> {
    let Some(pattern) = params.get("regex") else {
        return Err(SmartModuleInitError::MissingParam("regex".to_owned()).into());
    };
    let regex = RegexBuilder::new(pattern).unicode(false).build()?;
    REGEX
        .set(regex)
        .map_err(|_| eyre!("the regex is set already"))
}

#[smartmodule(filter)]
pub fn filter(record: &SmartModuleRecord) -> Result<bool> {
    let regex = REGEX.get().ok_or_else(|| eyre!("there is no regex"))?;
    Ok(regex.is_match(record.value.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn only_social_security_numbers_pass() {
        let lines = [
            "my number is 123-45-6789",
            "my number is 12-3456789",
            "\u{e9} 000-00-0000",
        ];

        let kept = harness!(init, filter)
            .param("regex", r"\b\d{3}-\d{2}-\d{4}\b")
            .run(lines)
            .unwrap();

        let offsets: Vec<_> = kept.iter().map(|record| record.offset()).collect();
        assert_eq!(offsets, [0, 2]);
    }

    #[test]
    fn a_missing_or_broken_regex_is_told() {
        let missing = harness!(init, filter).run(["x"]).unwrap_err();
        assert_eq!(missing.to_string(), "parameter `regex` is missing");

        let broken = harness!(init, filter)
            .param("regex", "a(b")
            .run(["x"])
            .unwrap_err();
        assert!(broken.to_string().contains("unclosed group"), "{broken}");
    }
}
