//! How everything goes with a namespace that was deleted: at once.
//!
//! Kubernetes has marked all that is in it, the pods and the disks too, and lets nothing be made there. There is
//! no order to keep, and nobody is left that could.

use super::cluster::release;
use super::{OwnerKind, Plan, Step};
use crate::observed::Observed;

/// Lets go of all that waits for the operator or for an SC.
pub(super) fn plan(observed: &Observed) -> Plan {
    let clusters = observed.clusters.iter();
    let clusters = clusters.filter_map(|one| release(OwnerKind::Cluster, one));
    let groups = observed.groups.iter();
    let groups = groups.filter_map(|one| release(OwnerKind::SpuGroup, one));
    let rows = observed.held_rows.iter().cloned().map(Step::ReleaseRow);
    Plan {
        steps: clusters.chain(groups).chain(rows).collect(),
        ..Plan::default()
    }
}
