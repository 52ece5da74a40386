//! The name of a topic, by Kafka's rules.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The internal topic that holds the registered SmartModules' bytes.
pub const SMARTMODULES_TOPIC: &str = "__smartmodules";
/// The internal topic that keeps the state of consumer groups, under Kafka's name.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// The internal topic that keeps what the modules of transforms log.
pub const TRANSFORM_LOGS_TOPIC: &str = "__transform_logs";

/// A topic's name: 1 to 249 of `a-z A-Z 0-9 . _ -`, and neither `.` nor `..` (Kafka's rule).
///
/// Cheap to clone: names travel with every request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// Why a text is no topic name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTopicName {
    /// Nothing was given.
    #[error("a topic name can't be empty")]
    Empty,
    /// The name is too long.
    #[error("topic name has {length} characters, {max} are allowed", max = TopicName::LENGTH_MAX)]
    TooLong {
        /// How many characters it has.
        length: usize,
    },
    /// A character that is not allowed.
    #[error(
        "topic name `{name}` has the character `{character}`; letters, digits, `.`, `_` and `-` are allowed"
    )]
    Character {
        /// The name as given.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// `.` and `..` would be folders.
    #[error("topic name `{name}` is reserved")]
    Reserved {
        /// The name as given.
        name: String,
    },
}

impl TopicName {
    /// The longest name, in characters.
    pub const LENGTH_MAX: usize = 249;

    /// Checks `name` and wraps it.
    ///
    /// # Errors
    /// When the name breaks one of Kafka's rules; the message says which.
    pub fn new(name: &str) -> Result<Self, InvalidTopicName> {
        if name.is_empty() {
            return Err(InvalidTopicName::Empty);
        }
        if let Some(character) = name
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return Err(InvalidTopicName::Character {
                name: name.to_owned(),
                character,
            });
        }
        if name.len() > Self::LENGTH_MAX {
            return Err(InvalidTopicName::TooLong { length: name.len() });
        }
        if name == "." || name == ".." {
            return Err(InvalidTopicName::Reserved {
                name: name.to_owned(),
            });
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the cluster keeps this topic for itself: such names start with `__`.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.0.starts_with("__")
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for TopicName {
    type Err = InvalidTopicName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for TopicName {
    type Error = InvalidTopicName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_names_are_allowed() {
        for name in ["a", "flights", "a.b_c-D9", &"x".repeat(249)] {
            assert_eq!(TopicName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn names_that_kafka_refuses_are_refused() {
        assert_eq!(TopicName::new(""), Err(InvalidTopicName::Empty));
        assert!(matches!(
            TopicName::new(".."),
            Err(InvalidTopicName::Reserved { .. })
        ));
        assert!(matches!(
            TopicName::new("a b"),
            Err(InvalidTopicName::Character { character: ' ', .. })
        ));
        assert!(matches!(
            TopicName::new(&"x".repeat(250)),
            Err(InvalidTopicName::TooLong { length: 250 })
        ));
    }
}
