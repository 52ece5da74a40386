//! What is wrong with a message, by the field that is wrong.

use std::fmt::Display;

/// A message that could not be understood. The text begins with the path of the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct InvalidField {
    /// The field, for example `spec.replication_factor`.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

impl InvalidField {
    /// `field` is wrong because of `reason`.
    pub fn new(field: impl Into<String>, reason: impl Display) -> Self {
        Self {
            path: field.into(),
            reason: reason.to_string(),
        }
    }

    /// `field` must be there and is not.
    pub fn missing(field: impl Into<String>) -> Self {
        Self::new(field, "must be set")
    }

    /// The same, seen from the message that has this one in its field `parent`.
    #[must_use]
    pub fn under(mut self, parent: &str) -> Self {
        self.path = format!("{parent}.{path}", path = self.path);
        self
    }
}

/// Reads a text field by `FromStr`.
pub(super) fn parse<T>(field: &str, text: &str) -> Result<T, InvalidField>
where
    T: std::str::FromStr<Err: Display>,
{
    text.parse()
        .map_err(|error| InvalidField::new(field, error))
}

/// A message field that must be there.
pub(super) fn required<T>(field: &str, value: Option<T>) -> Result<T, InvalidField> {
    value.ok_or_else(|| InvalidField::missing(field))
}
