//! Which cluster is in force, and which groups.
//!
//! The older wins, so that nothing that runs is stopped by what somebody adds later. What a group already
//! holds is its own whatever its age.

use std::collections::BTreeMap;
use std::ops::Range;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Resource, ResourceExt as _};
use thalweg_k8s_crd::{Cluster, SpuGroup, Verdict};

use crate::observed::{Observed, is_going};

/// What is in force.
#[derive(Debug)]
pub(super) struct Acceptance<'a> {
    /// The cluster, with its name.
    pub(super) cluster: Option<(&'a str, &'a Cluster)>,
    groups: BTreeMap<String, GroupVerdict>,
}

/// What is said of a group.
#[derive(Debug, Clone)]
pub(super) struct GroupVerdict {
    /// As the condition `Accepted` says it.
    pub(super) verdict: Verdict,
    /// How many SPUs it is to have; `None` for a group that may not be installed.
    pub(super) replicas: Option<i32>,
}

impl<'a> Acceptance<'a> {
    pub(super) fn of(observed: &'a Observed) -> Self {
        let cluster = observed.clusters.iter().min_by_key(|one| age(*one));
        let cluster = cluster.map(|one| (one.metadata.name.as_deref().unwrap_or_default(), one));
        Self {
            cluster,
            groups: groups(observed, cluster.is_some()),
        }
    }

    /// The cluster in force, unless it is going.
    pub(super) fn running(&self) -> Option<(&'a str, &'a Cluster)> {
        self.cluster.filter(|(_, cluster)| !is_going(*cluster))
    }

    /// Whether the operator is told to change nothing.
    pub(super) fn is_paused(&self) -> bool {
        self.running()
            .is_some_and(|(_, cluster)| cluster.spec.paused)
    }

    pub(super) fn of_cluster(&self, cluster: &Cluster) -> Verdict {
        match self.cluster {
            Some((_, other)) if other.metadata.uid != cluster.metadata.uid => refused(
                "NamespaceTaken",
                format!(
                    "Cluster {} is older, and a namespace holds one: delete one of them, or make this one in another namespace",
                    other.name_any()
                ),
            ),
            _ => accepted(),
        }
    }

    pub(super) fn of_group(&self, group: &SpuGroup) -> GroupVerdict {
        self.groups
            .get(&group.name_any())
            .cloned()
            .unwrap_or_else(|| GroupVerdict {
                verdict: accepted(),
                replicas: Some(group.spec.replicas),
            })
    }
}

fn age<K: Resource>(object: &K) -> (Option<Time>, String) {
    let meta = object.meta();
    (meta.creation_timestamp.clone(), object.name_any())
}

fn accepted() -> Verdict {
    Verdict {
        is_true: true,
        reason: "Accepted",
        message: String::new(),
    }
}

fn refused(reason: &'static str, message: String) -> Verdict {
    Verdict {
        is_true: false,
        reason,
        message,
    }
}

fn groups(observed: &Observed, has_cluster: bool) -> BTreeMap<String, GroupVerdict> {
    let mut by_age: Vec<_> = observed.groups.iter().collect();
    by_age.sort_by_key(|group| age(*group));
    // What each has now, or was accepted to have.
    let mut held: BTreeMap<String, Range<i32>> = by_age
        .iter()
        .filter_map(|group| {
            let name = group.name_any();
            let replicas = observed.spu_set_replicas(&name)?;
            Some((name, numbers(group, replicas)))
        })
        .collect();
    let mut verdicts = BTreeMap::new();
    for group in by_age {
        let name = group.name_any();
        let wanted = numbers(group, group.spec.replicas);
        let other = held
            .iter()
            .find(|(other, range)| **other != name && overlap(range, &wanted));
        let verdict = match other {
            Some((other, range)) => GroupVerdict {
                verdict: refused("IdsTaken", taken(&wanted, other, range)),
                replicas: observed.spu_set_replicas(&name),
            },
            None => {
                let both = held.entry(name.clone()).or_insert(wanted.clone());
                both.end = both.end.max(wanted.end);
                GroupVerdict {
                    verdict: if has_cluster {
                        accepted()
                    } else {
                        no_cluster()
                    },
                    replicas: Some(group.spec.replicas),
                }
            }
        };
        verdicts.insert(name, verdict);
    }
    verdicts
}

fn no_cluster() -> Verdict {
    refused(
        "NoCluster",
        "there is no Cluster in this namespace: make one".to_owned(),
    )
}

fn numbers(group: &SpuGroup, replicas: i32) -> Range<i32> {
    group.spec.min_id..group.spec.min_id + replicas
}

fn overlap(one: &Range<i32>, other: &Range<i32>) -> bool {
    one.start < other.end && other.start < one.end
}

fn taken(wanted: &Range<i32>, other: &str, range: &Range<i32>) -> String {
    format!(
        "SPUs {} to {} are wanted, and SpuGroup {other} has {} to {}: lower replicas, or make the group anew with another minId",
        wanted.start,
        wanted.end - 1,
        range.start,
        range.end - 1,
    )
}
