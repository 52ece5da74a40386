//! Pieces of schemas that several resources have.

use schemars::{Schema, SchemaGenerator, json_schema};

/// An object whose fields are not checked: what is in it was checked before it came there.
pub(crate) fn anything(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
    })
}

/// Conditions: a list that two writers may share, each with types of its own (server-side apply merges
/// it by `type`).
pub(crate) fn conditions(generator: &mut SchemaGenerator) -> Schema {
    let item =
        generator.subschema_for::<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition>();
    json_schema!({
        "type": "array",
        "description": "What is so, by Kubernetes' conventions.",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}
