//! The ConfigMap of racks: where each node stands.
//!
//! Pods can't read the labels of their nodes, so the operator does, and each SPU reads the file of its
//! node's name. Every node has one, an empty one where it has no such label: the SPU waits for the file.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Kind, Owner, Wanted};
use crate::names;

/// Node name to rack; `nodes` has the labels of each.
pub(crate) fn racks(
    owner: &Owner<'_>,
    cluster: &str,
    label: &str,
    nodes: &BTreeMap<String, BTreeMap<String, String>>,
) -> Wanted {
    let data: BTreeMap<_, _> = nodes
        .iter()
        .map(|(node, labels)| (node, labels.get(label).map_or("", String::as_str)))
        .collect();
    owner.object(
        Kind::ConfigMap,
        names::racks(cluster),
        json!({}),
        json!({"data": data}),
    )
}
