//! What a module says of its parameters: the custom section `thalweg_params`.
//!
//! Lines of JSON, written by the SDK's macros (docs/formats/smartmodule-abi.md). For people and
//! tools: what `init` does with parameters is the module's own matter. A section that can't be read
//! is no reason to refuse a module; it then says nothing.

use serde::{Deserialize, Serialize};

/// The most that is read of the section, in bytes.
const SECTION_BYTES_MAX: usize = 64 << 10;

/// A parameter that a module says it takes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub struct DeclaredParam {
    /// Its name.
    pub name: String,
    /// Its type as the author wrote it.
    #[serde(rename = "type")]
    pub value_type: String,
    /// Whether a stream that leaves it out is refused.
    pub required: bool,
    /// What it is when left out, as the author wrote it.
    #[serde(default)]
    pub default: Option<String>,
    /// What it is for.
    #[serde(default)]
    pub doc: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    /// A type that reads parameters.
    Type {
        r#struct: String,
        fields: Vec<DeclaredParam>,
    },
    /// The type that `init` takes.
    Init { params: String },
}

/// The fields of the type that `init` takes.
pub(crate) fn declared(section: &[u8]) -> Vec<DeclaredParam> {
    let mut types = Vec::new();
    let mut of_init = None;
    let section = section.get(..SECTION_BYTES_MAX).unwrap_or(section);
    for line in section.split(|byte| *byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(Line::Type { r#struct, fields }) => types.push((r#struct, fields)),
            Ok(Line::Init { params }) => of_init = Some(params),
            Err(_) => {}
        }
    }
    types
        .into_iter()
        .find(|(name, _)| Some(name) == of_init.as_ref())
        .map(|(_, fields)| fields)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parameters_are_the_fields_of_the_type_that_init_takes() {
        let section = br#"{"struct":"Other","fields":[]}
{"struct":"Options","fields":[{"name":"word","type":"String","required":false,"default":"\"ERROR\"","doc":"What."}]}
{"params":"Options"}
"#;

        let params = declared(section);

        assert_eq!(params.len(), 1);
        assert_eq!(params[0].name, "word");
        assert_eq!(params[0].default.as_deref(), Some("\"ERROR\""));
        assert!(!params[0].required);
    }

    #[test]
    fn a_section_that_can_not_be_read_says_nothing() {
        assert_eq!(declared(b""), []);
        assert_eq!(declared(b"\xff{{{\n{\"params\":7}\n[]"), []);
    }
}
