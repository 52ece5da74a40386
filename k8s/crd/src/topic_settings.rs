//! A topic's settings in its schema: each under Kafka's name, with its meaning and what it may be.
//!
//! The API server refuses what `TopicConfig` would refuse, so that every stored topic can be read. Only plain
//! numbers are allowed: the names say the unit.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use thalweg_types::ConfigKey;

/// A setting's value: YAML makes `true`, `1048576` and `compact` three types, and people write them
/// without quotes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Setting {
    /// A number, written as one.
    Number(i64),
    /// Text, or a number in quotes.
    Text(String),
}

impl Setting {
    /// As `TopicConfig::set` takes it.
    #[must_use]
    pub fn as_text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    /// The value as people would write it: numbers without quotes, but for those that programs which read
    /// JSON's numbers as floating point would change.
    #[must_use]
    pub fn of(value: &str) -> Self {
        match value.parse::<i64>() {
            Ok(number) if number.unsigned_abs() < 1 << 53 => Self::Number(number),
            _ => Self::Text(value.to_owned()),
        }
    }
}

/// What a setting may be.
enum Allowed {
    OneOf(&'static [&'static str]),
    Integer {
        min: i64,
        max: i64,
    },
    /// 0 to 1.
    Ratio,
    /// Bounds of what is remembered.
    Dedup,
}

fn allowed(key: ConfigKey) -> Allowed {
    let at_least = |min| Allowed::Integer { min, max: i64::MAX };
    match key {
        ConfigKey::CleanupPolicy => {
            Allowed::OneOf(&["delete", "compact", "compact,delete", "delete,compact"])
        }
        ConfigKey::CompressionType => {
            Allowed::OneOf(&["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"])
        }
        ConfigKey::Durability => Allowed::OneOf(&["fsync", "memory"]),
        ConfigKey::MessageTimestampType => Allowed::OneOf(&["CreateTime", "LogAppendTime"]),
        ConfigKey::UncleanLeaderElection => Allowed::OneOf(&["true", "false"]),
        ConfigKey::MinCleanableDirtyRatio => Allowed::Ratio,
        ConfigKey::Dedup => Allowed::Dedup,
        ConfigKey::MaxMessageBytes => Allowed::Integer {
            min: 1024,
            max: 64 << 20,
        },
        ConfigKey::SegmentBytes => Allowed::Integer {
            min: 4096,
            max: i64::from(i32::MAX),
        },
        ConfigKey::MinInsyncReplicas => Allowed::Integer {
            min: 1,
            max: i64::from(u16::MAX),
        },
        ConfigKey::SegmentMs | ConfigKey::MaxCompactionLagMs => at_least(1),
        ConfigKey::RetentionBytes | ConfigKey::RetentionMs => at_least(-1),
        ConfigKey::DeleteRetentionMs | ConfigKey::MinCompactionLagMs => at_least(0),
        // `ConfigKey` may grow; a test says when this has to.
        _ => at_least(i64::MIN),
    }
}

fn schema_of(key: ConfigKey) -> Value {
    let name = key.name();
    let default = key.default_value();
    let description = format!("{} Default: `{default}`.", key.documentation());
    match allowed(key) {
        Allowed::OneOf(words) => json!({
            "type": "string",
            "enum": words,
            "description": description,
        }),
        Allowed::Integer { min, max } => json!({
            "x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": description,
            "maxLength": 20,
            "x-kubernetes-validations": [{
                "rule": "type(self) != string || self.matches('^-?[0-9]{1,18}$') || self == '9223372036854775807'",
                "message": format!("{name} must be a whole number, without a unit"),
            }, {
                "rule": format!("type(self) == string ? (!self.matches('^-?[0-9]{{1,19}}$') || (int(self) >= {min} && int(self) <= {max})) : (self >= {min} && self <= {max})"),
                "message": format!("{name} must be {min} to {max}"),
            }],
        }),
        Allowed::Ratio => json!({
            "type": "string",
            "pattern": r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$",
            "description": format!("{description} In quotes."),
        }),
        Allowed::Dedup => {
            let last = "last=([1-9][0-9]{0,6}|10000000)";
            let age = "age=[1-9][0-9]{0,8}(ms|s|m|h|d)";
            json!({
                "type": "string",
                "pattern": format!("^(none|{last}|{age}|{last},{age})$"),
                "description": description,
            })
        }
    }
}

/// The schema of a topic's settings.
pub(crate) fn settings(_: &mut SchemaGenerator) -> Schema {
    let properties: Map<String, Value> = ConfigKey::ALL
        .iter()
        .map(|key| (key.name().to_owned(), schema_of(*key)))
        .collect();
    json_schema!({
        "type": "object",
        "description": "Settings that differ from the defaults, by Kafka's names.",
        "properties": properties,
    })
}

#[cfg(test)]
mod tests {
    use thalweg_types::TopicConfig;

    use super::*;

    fn takes(key: ConfigKey, value: &str) -> bool {
        TopicConfig::default().set(key.name(), value).is_ok()
    }

    #[test]
    fn what_the_schema_allows_is_what_the_sc_allows() {
        for &key in ConfigKey::ALL {
            match allowed(key) {
                Allowed::OneOf(words) => {
                    assert!(words.iter().all(|word| takes(key, word)), "{key}");
                }
                Allowed::Integer { min, max } => {
                    assert!(takes(key, &min.to_string()), "{key} {min}");
                    assert!(takes(key, &max.to_string()), "{key} {max}");
                    assert!(!takes(key, &(min - 1).to_string()), "{key} below {min}");
                    if let Some(more) = max.checked_add(1) {
                        assert!(!takes(key, &more.to_string()), "{key} above {max}");
                    }
                }
                Allowed::Dedup => {
                    let of_last = ["last=1", "last=9999999", "last=10000000"];
                    let of_age = ["age=1ms", "age=999999999d", "last=7,age=5m"];
                    assert!(takes(key, "none"));
                    assert!(of_last.iter().chain(&of_age).all(|text| takes(key, text)));
                }
                Allowed::Ratio => {
                    assert!(
                        ["0", "1", "0.123456789", "1.0"]
                            .iter()
                            .all(|ratio| takes(key, ratio))
                    );
                }
            }
        }
    }

    #[test]
    fn a_value_is_written_as_people_would() {
        assert_eq!(Setting::of("604800000"), Setting::Number(604_800_000));
        assert_eq!(Setting::of("compact"), Setting::Text("compact".to_owned()));
        let never = i64::MAX.to_string();
        assert_eq!(Setting::of(&never), Setting::Text(never));
        // In quotes, as its schema wants it.
        assert_eq!(Setting::of("0.5"), Setting::Text("0.5".to_owned()));
    }
}
