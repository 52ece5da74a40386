//! What must hold in every state, and what must be possible.

use stateright::Property;

use crate::controller::index;
use crate::replication::{Replication, State};
use crate::spu::{Role, place};

/// All of them.
pub(crate) fn properties() -> Vec<Property<Replication>> {
    vec![
        Property::always("no acknowledged record is lost", |_, state| {
            none_lost(state)
        }),
        Property::always("the log's end never goes back", |_, state: &State| {
            !state.end_went_back
        }),
        Property::always("logs agree below their high watermarks", |_, state| {
            logs_agree(state)
        }),
        Property::always("each epoch has one leader", |_, state| one_leader(state)),
        Property::sometimes("a second leader acknowledges", |_, state: &State| {
            state.controller.status.leader_epoch.0 > 0 && state.acknowledged.len() > 1
        }),
        Property::sometimes("a replica leaves and joins again", |_, state: &State| {
            state.controller.status.partition_epoch.0 > 1
                && state.controller.status.isr.len() == state.spus.len()
        }),
        Property::sometimes("two lead at once", |_, state| leader_count(state) > 1),
    ]
}

/// The leader that the SC knows, once it has begun its reign, has all that was acknowledged.
fn none_lost(state: &State) -> bool {
    let status = &state.controller.status;
    let Some(leader) = status.leader else {
        return true;
    };
    let leader = &state.spus[index(leader)];
    let reigns = matches!(&leader.role, Role::Leads(reign) if reign.epoch == status.leader_epoch);
    let has = |(offset, record): &(_, u8)| {
        leader
            .log
            .get(place(*offset))
            .is_some_and(|entry| entry.record == *record)
    };
    !reigns || state.acknowledged.iter().all(has)
}

fn logs_agree(state: &State) -> bool {
    state.spus.iter().all(|one| {
        state.spus.iter().all(|other| {
            let committed = place(one.high_watermark.min(other.high_watermark));
            one.log[..committed] == other.log[..committed]
        })
    })
}

fn one_leader(state: &State) -> bool {
    let mut epochs: Vec<_> = reigns(state).collect();
    epochs.sort_unstable();
    epochs.windows(2).all(|pair| pair[0] != pair[1])
}

fn leader_count(state: &State) -> usize {
    reigns(state).count()
}

fn reigns(state: &State) -> impl Iterator<Item = thalweg_types::LeaderEpoch> {
    state
        .spus
        .iter()
        .filter(|spu| spu.running)
        .filter_map(|spu| match &spu.role {
            Role::Leads(reign) => Some(reign.epoch),
            Role::Follows { .. } | Role::Nothing => None,
        })
}
