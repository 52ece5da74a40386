//! Whether an object is as the operator wants it, so that a settled cluster causes no request.
//!
//! The API server fills in what was left out, others own fields of their own, and quantities come back written in
//! another way. What counts is that every field that the operator owns is there with its value, and that
//! nothing that it owned before is left over, which the hash of what was applied last says.

use serde_json::Value;

use crate::names::APPLIED;
use crate::objects::{Kind, Wanted};
use crate::quantity;

/// Lists that server-side apply merges by a key: others may have entries of their own in them.
const MERGED_LISTS: [&str; 8] = [
    "containers",
    "env",
    "imagePullSecrets",
    "ownerReferences",
    "ports",
    "topologySpreadConstraints",
    "volumeMounts",
    "volumes",
];

/// Maps that server-side apply replaces as a whole: a label more in a selector selects something else.
const WHOLE_MAPS: [&str; 5] = [
    "labelSelector",
    "namespaceSelector",
    "nodeSelector",
    "podSelector",
    "selector",
];

/// Whether `live` is as `wanted`.
pub(crate) fn is_as_wanted(wanted: &Wanted, live: &Value) -> bool {
    let hash = |object: &Value| object["metadata"]["annotations"][APPLIED].clone();
    // A rule of a policy opens what it lists: one port more is one too many.
    let merges = wanted.kind != Kind::NetworkPolicy;
    hash(&wanted.body) == hash(live) && has_all(&wanted.body, live, "", merges)
}

fn has_all(wanted: &Value, live: &Value, field: &str, merges: bool) -> bool {
    match (wanted, live) {
        (Value::Object(_), Value::Object(_)) if WHOLE_MAPS.contains(&field) => wanted == live,
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(key, value)| {
            live.get(key)
                .is_some_and(|live| has_all(value, live, key, merges))
                || (is_nothing(value) && !live.contains_key(key))
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            let has = |one: &Value| live.iter().any(|other| has_all(one, other, "", merges));
            if merges && MERGED_LISTS.contains(&field) {
                return wanted.iter().all(has);
            }
            wanted.len() == live.len()
                && wanted
                    .iter()
                    .zip(live)
                    .all(|(one, other)| has_all(one, other, "", merges))
        }
        (Value::String(wanted), Value::String(live)) => {
            wanted == live || quantity::is_same(wanted, live)
        }
        (wanted, live) => wanted == live,
    }
}

/// The API server leaves out what is empty.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(is_set) => !is_set,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wanted(kind: Kind, spec: Value) -> Wanted {
        let body = json!({
            "metadata": {"name": "a", "annotations": {APPLIED: "h1"}},
            "spec": spec,
        });
        Wanted {
            kind,
            name: "a".to_owned(),
            body,
        }
    }

    fn live(hash: &str, spec: Value) -> Value {
        json!({
            "metadata": {"name": "a", "uid": "u", "annotations": {APPLIED: hash, "other": "x"}},
            "spec": spec,
        })
    }

    #[test]
    fn what_the_api_server_fills_in_changes_nothing() {
        let wanted = wanted(
            Kind::Deployment,
            json!({
                "containers": [{"name": "sc", "resources": {"limits": {"cpu": "1000m"}}, "readOnly": false}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }),
        );
        let same = live(
            "h1",
            json!({
                "containers": [
                    {"name": "injected"},
                    {"name": "sc", "resources": {"limits": {"cpu": "1"}}, "stdin": false},
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "replicas": 1,
            }),
        );

        assert!(is_as_wanted(&wanted, &same));
    }

    #[test]
    fn what_somebody_changed_or_removed_is_seen() {
        let wanted = wanted(
            Kind::Service,
            json!({"ports": [{"name": "data", "port": 9092}], "selector": {"a": "b"}}),
        );

        for spec in [
            json!({"ports": [{"name": "data", "port": 9093}], "selector": {"a": "b"}}),
            json!({"ports": [], "selector": {"a": "b"}}),
            json!({"ports": [{"name": "data", "port": 9092}], "selector": {"a": "c"}}),
            json!({"ports": [{"name": "data", "port": 9092}]}),
            json!({"ports": [{"name": "data", "port": 9092}], "selector": {"a": "b", "c": "d"}}),
        ] {
            assert!(!is_as_wanted(&wanted, &live("h1", spec.clone())), "{spec}");
        }
    }

    #[test]
    fn what_was_applied_before_and_is_wanted_no_longer_is_seen_by_its_hash() {
        let wanted = wanted(Kind::Service, json!({"type": "ClusterIP"}));
        let before = live("h0", json!({"type": "ClusterIP", "loadBalancerClass": "x"}));

        assert!(!is_as_wanted(&wanted, &before));
    }

    #[test]
    fn a_port_more_in_a_policy_is_one_too_many() {
        let rule = |ports: Value| json!({"ingress": [{"ports": ports}]});
        let wanted = wanted(Kind::NetworkPolicy, rule(json!([{"port": 9092}])));
        let opened = live("h1", rule(json!([{"port": 9092}, {"port": 22}])));

        assert!(!is_as_wanted(&wanted, &opened));
    }
}
