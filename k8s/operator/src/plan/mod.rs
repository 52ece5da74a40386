//! What must change in a namespace so that it becomes what its `Cluster` and `SpuGroup`s say. Pure.
//!
//! [`Plan::compute`] is given everything that was read, and answers with objects to apply, steps to take and
//! what to report. It keeps nothing from one time to the next: run twice on the same, it says the same, and
//! run on something old it says what was right then. So that this does no harm, a step that takes something
//! away names the very object that it is about (its uid or version), and is
//! [planned again](Plan::is_careful) on what the API server says at that moment before it is taken.

mod acceptance;
mod certificate;
mod changing;
mod claims;
mod cluster;
mod failure;
mod group;
mod leaving;
mod obsolete;
mod pods;
mod report;
mod restart;
mod scale;
#[cfg(test)]
mod tests;

use std::time::Duration;

use thalweg_k8s_crd::{ClusterStatus, SpuGroupStatus};

use crate::objects::{Kind, Wanted};
use crate::observed::{HeldRow, Observed};

use acceptance::Acceptance;
use report::Report;
use restart::Restarts;

/// What must change in a namespace.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// Objects as they should be, in the order in which they are applied.
    pub objects: Vec<Wanted>,
    /// Objects of the operator that nobody wants any more.
    pub deletions: Vec<Deletion>,
    /// What is done beside that, in order.
    pub steps: Vec<Step>,
    /// What to say of each cluster.
    pub clusters: Vec<(String, ClusterStatus)>,
    /// What to say of each group.
    pub groups: Vec<(String, SpuGroupStatus)>,
    /// What has come about, for people.
    pub events: Vec<Event>,
    /// When to look again though nothing changes.
    pub look_again: Option<Duration>,
}

/// An object to delete: this one and no other that bears its name later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deletion {
    /// What it is.
    pub kind: Kind,
    /// What it is called.
    pub name: String,
    /// Which one.
    pub uid: String,
}

/// A change that is no object of the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hold a `Cluster` or `SpuGroup` back from going, or let it go.
    Finalizer {
        /// `Cluster` or `SpuGroup`.
        owner: OwnerKind,
        /// Its name.
        name: String,
        /// The version that this was decided on.
        version: String,
        /// All finalizers that it is to have.
        finalizers: Vec<String>,
    },
    /// Have an SPU give up all that it holds, or no longer.
    SetDraining {
        /// The object.
        spu: String,
        /// The version that this was decided on.
        version: String,
        /// The group that shrinks, or no longer does.
        group: String,
        /// Whether to drain.
        draining: bool,
    },
    /// Remove an SPU that was drained and whose pod is gone.
    DeleteSpu {
        /// The object.
        spu: String,
        /// Which one.
        uid: String,
    },
    /// Have a pod replaced by one that is as its StatefulSet says.
    RestartPod {
        /// The pod.
        pod: String,
        /// Which one.
        uid: String,
    },
    /// Let a row go that waits for an SC.
    ReleaseRow(HeldRow),
    /// Ask for a larger disk.
    GrowClaim {
        /// The claim.
        claim: String,
        /// How large.
        size: String,
    },
}

/// Whose finalizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// A `Cluster`.
    Cluster,
    /// An `SpuGroup`.
    SpuGroup,
}

/// What has come about, for people: `kubectl describe` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Of what.
    pub owner: OwnerKind,
    /// Of which.
    pub name: String,
    /// Whether somebody should look at it.
    pub is_warning: bool,
    /// One word in CamelCase.
    pub reason: String,
    /// What and why.
    pub note: String,
}

impl Plan {
    /// Works out what must change so that `observed` becomes what its clusters and groups say.
    #[must_use]
    pub fn compute(observed: &Observed, now_ms: i64) -> Self {
        if observed.is_terminating {
            return leaving::plan(observed);
        }
        let acceptance = Acceptance::of(observed);
        let mut plan = Self::default();
        cluster::plan(observed, &acceptance, &mut plan);
        let groups: Vec<_> = observed
            .groups
            .iter()
            .map(|group| group::plan(observed, &acceptance, group, &mut plan))
            .collect();
        let restarts = restart::next(observed, &acceptance, &plan, now_ms);
        if let Restarts::Now(step) = &restarts {
            plan.steps.push(step.clone());
        }
        obsolete::plan(observed, &acceptance, &mut plan);
        let changing = changing::changing(observed, &plan.objects);
        Report {
            observed,
            acceptance: &acceptance,
            groups: &groups,
            restarts: &restarts,
            changing: &changing,
            now_ms,
        }
        .write(&mut plan);
        plan
    }

    /// Whether the plan takes something away, so that it has to be made again on what the API server
    /// says now before it is carried out.
    #[must_use]
    pub fn is_careful(&self, observed: &Observed) -> bool {
        let takes_away = |step: &Step| match step {
            Step::RestartPod { .. } | Step::DeleteSpu { .. } | Step::SetDraining { .. } => true,
            Step::Finalizer { finalizers, .. } => finalizers.is_empty(),
            Step::GrowClaim { .. } | Step::ReleaseRow(_) => false,
        };
        let shrinks = |wanted: &Wanted| {
            wanted.kind == Kind::StatefulSet
                && observed
                    .object(wanted.kind, &wanted.name)
                    .is_some_and(|live| {
                        live.pointer("/spec/replicas")
                            .and_then(serde_json::Value::as_i64)
                            > wanted
                                .body
                                .pointer("/spec/replicas")
                                .and_then(serde_json::Value::as_i64)
                    })
        };
        !self.deletions.is_empty()
            || self.steps.iter().any(takes_away)
            || self.objects.iter().any(shrinks)
    }
}
