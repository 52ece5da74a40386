//! Optional parameters with defaults, read without a struct: a map that puts `--param prefix=..`
//! and `--param suffix=..` around each value.

use std::sync::OnceLock;

use thalweg_smartmodule::dataplane::smartmodule::SmartModuleExtraParams;
use thalweg_smartmodule::{Record, RecordData, Result, eyre, smartmodule};

static AROUND: OnceLock<(String, String)> = OnceLock::new();

#[smartmodule(init)]
fn init(params: SmartModuleExtraParams) -> Result<()> {
    let or = |name: &str, default: &str| {
        params
            .get(name)
            .cloned()
            .unwrap_or_else(|| default.to_owned())
    };
    AROUND
        .set((or("prefix", "<"), or("suffix", ">")))
        .map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(map)]
pub fn map(record: &Record) -> Result<(Option<RecordData>, RecordData)> {
    let (prefix, suffix) = AROUND.get().ok_or_else(|| eyre!("`init` has not run"))?;
    let value = [prefix.as_bytes(), record.value.as_ref(), suffix.as_bytes()].concat();
    Ok((record.key.clone(), value.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn what_is_not_given_has_its_default() {
        let out = harness!(init, map)
            .param("prefix", "- ")
            .run(["a"])
            .unwrap();

        assert_eq!(out[0].value.as_str(), Ok("- a>"));
    }
}
