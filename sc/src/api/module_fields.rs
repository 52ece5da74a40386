//! The fields that name SmartModules.

use thalweg_proto::InvalidField;
use thalweg_types::{ModuleVersion, ResourceName};

/// Reads a SmartModule's name.
pub(super) fn module_name(text: &str) -> Result<ResourceName, InvalidField> {
    text.parse()
        .map_err(|error| InvalidField::new("name", error))
}

/// Reads a version; empty for none.
pub(super) fn optional_version(text: &str) -> Result<Option<ModuleVersion>, InvalidField> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|error| InvalidField::new("version", error))
}
