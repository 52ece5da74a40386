//! A chain of registered SmartModules as it is stored: what users write under `transforms:`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{InvalidTopicName, ModuleRef, TopicName, WindowSpec, parse_duration};

/// SmartModules applied one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ChainSpec {
    /// The steps, in the order of application; at most [`ChainSpec::STEPS_MAX`].
    pub steps: Vec<StepSpec>,
}

impl ChainSpec {
    /// How many steps a chain may have.
    pub const STEPS_MAX: usize = 32;

    /// Whether there is nothing to apply.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// One SmartModule of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepSpec {
    /// The module.
    pub uses: ModuleRef,
    /// What its `init` is given.
    #[serde(default)]
    pub with: BTreeMap<String, String>,
    /// What it sees before the first record.
    #[serde(default)]
    pub look_back: Option<LookBack>,
    /// What becomes of a record that it fails on.
    #[serde(default)]
    pub on_error: OnError,
    /// How it accumulates, where it is an aggregate; one accumulator from nothing where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<AggregateSpec>,
}

/// What an aggregate accumulates.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AggregateSpec {
    /// What it starts from.
    #[serde(default)]
    pub initial: String,
    /// Whether it keeps an accumulator for each key, and not one for the partition.
    #[serde(default)]
    pub by_key: bool,
    /// The windows in which it accumulates; none where it goes on for ever. Only transforms have windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpec>,
}

/// Which records of before a stream's start a SmartModule is shown. With both bounds, the one
/// that allows less decides; with neither, nothing is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LookBack {
    /// At most so many records.
    #[serde(default)]
    pub last: Option<u64>,
    /// None older than this, in milliseconds before the time when the stream starts.
    #[serde(default)]
    pub age_ms: Option<u64>,
}

/// Why a text says no bounds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidLookBack(String);

impl FromStr for LookBack {
    type Err = InvalidLookBack;

    /// Reads `last=1000`, `age=1h` or both with a comma between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bounds = Self::default();
        for bound in text.split(',') {
            match bound.trim().split_once('=') {
                Some(("last", last)) if bounds.last.is_none() => {
                    let last = last.parse();
                    let told = |error| InvalidLookBack(format!("`{bound}`: {error}"));
                    bounds.last = Some(last.map_err(told)?);
                }
                Some(("age", age)) if bounds.age_ms.is_none() => {
                    let age = parse_duration(age);
                    let age = age.map_err(|error| InvalidLookBack(error.to_string()))?;
                    bounds.age_ms = Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
                }
                _ => {
                    let reason = "write `last=1000`, `age=1h` or `last=1000,age=1h`";
                    return Err(InvalidLookBack(reason.to_owned()));
                }
            }
        }
        Ok(bounds)
    }
}

/// What becomes of a record that a SmartModule fails on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OnError {
    /// The stream ends with the record's offset, its key and the module's message.
    #[default]
    Stop,
    /// It is left out and counted.
    Skip,
    /// It goes to this topic as it was, with headers that say where from and why.
    DeadLetter(TopicName),
}

/// Why a text is no error policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOnError {
    /// It is none of the three.
    #[error("`{0}` is not an error policy, write `stop`, `skip` or `dead_letter:<topic>`")]
    Unknown(String),
    /// The topic behind `dead_letter:`.
    #[error(transparent)]
    Topic(#[from] InvalidTopicName),
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stop => f.write_str("stop"),
            Self::Skip => f.write_str("skip"),
            Self::DeadLetter(topic) => write!(f, "dead_letter:{topic}"),
        }
    }
}

impl FromStr for OnError {
    type Err = InvalidOnError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "stop" => Ok(Self::Stop),
            None if text == "skip" => Ok(Self::Skip),
            Some(("dead_letter", topic)) => Ok(Self::DeadLetter(topic.trim().parse()?)),
            _ => Err(InvalidOnError::Unknown(text.to_owned())),
        }
    }
}

impl TryFrom<String> for OnError {
    type Error = InvalidOnError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<OnError> for String {
    fn from(policy: OnError) -> Self {
        policy.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_policies_survive_the_way_to_text_and_back() {
        for text in ["stop", "skip", "dead_letter:flights-failed"] {
            assert_eq!(text.parse::<OnError>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_error_policy_is_refused_with_the_three_that_are() {
        for text in ["", "ignore", "dead_letter", "skip:x"] {
            let error = text.parse::<OnError>().unwrap_err();
            assert!(error.to_string().contains("dead_letter:<topic>"), "{error}");
        }
        assert!("dead_letter:a b".parse::<OnError>().is_err());
    }

    #[test]
    fn bounds_are_read_in_any_order_and_each_once() {
        let both = LookBack {
            last: Some(1_000),
            age_ms: Some(90_000),
        };
        for text in ["last=1000,age=90s", "age=1.5m, last=1000"] {
            assert_eq!(text.parse(), Ok(both), "{text}");
        }
        assert_eq!(
            "age=1500ms".parse::<LookBack>().unwrap().age_ms,
            Some(1_500)
        );
        for text in [
            "",
            "5",
            "last=x",
            "age=soon",
            "last=1,last=2",
            "last=1;age=1h",
        ] {
            assert!(text.parse::<LookBack>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_stored_step_needs_only_its_module() {
        let chain: ChainSpec = serde_json::from_str(r#"[{"uses":"late@1.0.0"}]"#).unwrap();

        assert_eq!(chain.steps[0].on_error, OnError::Stop);
        assert_eq!(chain.steps[0].look_back, None);
    }
}
