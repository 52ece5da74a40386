//! Which sets of pods are about to change, so that nobody is told that all is done before it has begun.

use std::collections::BTreeSet;

use crate::live::is_as_wanted;
use crate::objects::{Kind, Wanted};
use crate::observed::{Observed, is_seen_by_its_controller};

/// The sets of pods that are not as `wanted`, or whose controllers have not seen yet that they are.
pub(super) fn changing(observed: &Observed, wanted: &[Wanted]) -> BTreeSet<(Kind, String)> {
    let is_settled = |wanted: &Wanted| {
        let live = observed.object(wanted.kind, &wanted.name);
        live.is_none_or(|live| is_as_wanted(wanted, live) && is_seen_by_its_controller(live))
    };
    wanted
        .iter()
        .filter(|wanted| matches!(wanted.kind, Kind::StatefulSet | Kind::Deployment))
        .filter(|wanted| !is_settled(wanted))
        .map(|wanted| (wanted.kind, wanted.name.clone()))
        .collect()
}
