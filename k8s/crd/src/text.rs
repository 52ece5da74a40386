//! Texts with a form: durations, sizes in memory, sizes of disks.
//!
//! Each is checked by the API server with a rule whose message says what to write. A duration has only
//! those units of `thalweg_types::parse_duration` that the rules' own `duration()` reads too, so that
//! two of them can be compared.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $rule:literal, $message:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "maxLength": 32,
                    "x-kubernetes-validations": [{ "rule": $rule, "message": $message }],
                })
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }
    };
}

text! {
    /// A duration: `500ms`, `10s`, `5m`, `1h`.
    DurationText,
    "self.matches('^[0-9]+([.][0-9]+)?(ms|s|m|h)$')",
    "write a duration with its unit, such as 500ms, 10s, 5m or 1h"
}

text! {
    /// A size in bytes: `1024`, `64KiB`, `100MiB`, `1GiB`.
    BytesText,
    "self.matches('^[0-9]+([.][0-9]+)?(B|kB|KB|KiB|MB|MiB|GB|GiB|TB|TiB)?$')",
    "write a size in bytes, such as 1024, 64KiB, 100MiB or 1GiB"
}

text! {
    /// The size of a disk, as Kubernetes writes it: `10Gi`, `500G`, `2Ti`.
    DiskSize,
    "self.matches('^[1-9][0-9]*(Mi|Gi|Ti|Pi|M|G|T|P)$')",
    "write a disk size as a whole number with its unit, such as 500Mi, 10Gi or 2Ti"
}
