//! Records by a field of their JSON: keeps log lines of a level at least as high as
//! `--param min_level=..`, `warn` unless given, with parameters in a struct.

use std::sync::OnceLock;

use serde::Deserialize;
use thalweg_smartmodule::{Record, Result, SmartOpt, eyre, smartmodule};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(level: &str) -> Result<Self, String> {
        match level {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            _ => Err("it is one of debug, info, warn and error".to_owned()),
        }
    }
}

#[derive(Deserialize)]
struct StructuredLog {
    level: LogLevel,
}

#[derive(Debug, SmartOpt)]
struct Options {
    /// The lowest level that is kept.
    #[opt(default = LogLevel::Warn)]
    min_level: LogLevel,
}

static OPTIONS: OnceLock<Options> = OnceLock::new();

#[smartmodule(init)]
fn init(options: Options) -> Result<()> {
    OPTIONS.set(options).map_err(|_| eyre!("initialised twice"))
}

#[smartmodule(filter)]
pub fn filter_log_level(record: &Record) -> Result<bool> {
    let log: StructuredLog = serde_json::from_slice(record.value.as_ref())?;
    let options = OPTIONS.get().ok_or_else(|| eyre!("`init` has not run"))?;
    Ok(log.level >= options.min_level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule::testing::harness;

    #[test]
    fn levels_are_kept_from_the_lowest_on() {
        let lines = ["debug", "warn", "error", "info"]
            .map(|level| format!(r#"{{"level":"{level}","message":"m"}}"#));

        let kept = harness!(init, filter_log_level).run(lines).unwrap();

        let offsets: Vec<_> = kept.iter().map(|record| record.offset()).collect();
        assert_eq!(offsets, [1, 2]);
    }

    #[test]
    fn a_level_that_does_not_exist_is_told() {
        let failed = harness!(init, filter_log_level)
            .param("min_level", "fatal")
            .run(["{}"])
            .unwrap_err();

        assert_eq!(
            failed.to_string(),
            "parameter `min_level` has the invalid value `fatal`: it is one of debug, info, warn and error"
        );
    }
}
