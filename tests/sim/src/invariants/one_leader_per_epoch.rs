//! **In an epoch of a partition there is one leader.** Two that gave offsets in the same epoch would
//! give them to different records, and nobody could tell the copies apart.

use std::collections::BTreeMap;

use thalweg_spu::replica::Replica;
use thalweg_types::{LeaderEpoch, PartitionId};

#[derive(Debug, Default)]
pub(super) struct OneLeaderPerEpoch {
    leaders: BTreeMap<(PartitionId, LeaderEpoch), i32>,
}

impl OneLeaderPerEpoch {
    pub(super) fn look(&mut self, spu: i32, leader: &Replica) -> Option<String> {
        let reign = (leader.id(), leader.leader_epoch());
        let first = *self.leaders.entry(reign).or_insert(spu);
        (first != spu).then(|| {
            let (partition, epoch) = reign;
            format!(
                "one leader per epoch: SPUs {first} and {spu} lead {partition} in epoch {epoch}"
            )
        })
    }
}
