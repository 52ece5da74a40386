//! What the cluster is and what it should be: read, plan, apply.
//!
//! [`Controller`] is the one writer. `api` changes what is wanted, `control` says who is there, and
//! both then have it reconcile: [`Observed`] is what is stored, `plan` (pure) says what must be
//! written next, and the store takes it by compare-and-set. A plan is worked out afresh from what
//! is stored until there is nothing left to do, so work that a crash cut short is finished at the
//! next start, and doing it twice changes nothing. `leaders` holds the elections that somebody asks
//! for, and `balancer` asks for some by itself.

mod balancer;
mod controller;
mod drain;
mod internal_topic;
mod leaders;
mod observed;
mod plan;
mod reconciler;
mod told_by_replicas;

pub(crate) use balancer::spawn_leader_balancer;
pub(crate) use controller::{ChangeError, Changing, Controller};
pub(crate) use drain::{free_moves, held_up};
pub(crate) use internal_topic::InternalTopic;
pub(crate) use leaders::{Election, Outcome};
pub(crate) use observed::Observed;
pub(crate) use plan::{Unfit, fitness};
pub(crate) use reconciler::spawn_reconciler;
pub(crate) use told_by_replicas::ToldByReplicas;
