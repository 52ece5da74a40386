//! What must hold at every moment, one property per file. The simulation looks into the SPUs while
//! they run; what clients can see is the checker's matter, once the run is over (`client_views`).

mod client_views;
mod high_watermark_never_back;
mod offsets_are_dense;
mod one_leader_per_epoch;
mod replicas_agree;

use std::sync::Arc;

use thalweg_spu::replica::Replica;
use thalweg_storage::Log;
use thalweg_types::{PartitionId, PartitionIndex, TopicName};

pub(crate) use self::client_views::client_views;
use self::high_watermark_never_back::HighWatermarkNeverBack;
use self::offsets_are_dense::offsets_are_dense;
use self::one_leader_per_epoch::OneLeaderPerEpoch;
use self::replicas_agree::ReplicasAgree;
use crate::spu_host::SpuHost;

/// A process of an SPU: its number, and which of the host's processes it is.
pub(crate) type Life = (i32, u64);

/// Looks at all SPUs, and keeps what later looks are compared with.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    high_watermark: HighWatermarkNeverBack,
    leaders: OneLeaderPerEpoch,
    copies: ReplicasAgree,
}

impl Invariants {
    /// Every property that is broken now.
    pub(crate) fn look(
        &mut self,
        spus: &[Arc<SpuHost>],
        topic: &TopicName,
        partition_count: i32,
    ) -> Vec<String> {
        let mut broken = Vec::new();
        for spu in spus {
            let Some((life, context)) = spu.serving() else {
                continue;
            };
            let life = (spu.id(), life);
            let mut logs: Vec<(PartitionId, Arc<Log>)> = context.replicas.logs();
            logs.sort_by_key(|(id, _)| *id);
            for (id, log) in logs {
                broken.extend(self.high_watermark.look(life, id, &log));
                broken.extend(self.copies.look(life, id, &log));
            }
            for index in 0..partition_count {
                let found = context.replicas.leader(topic, PartitionIndex(index), None);
                let Some(leader) = found.ok().filter(|leader| !leader.has_ended()) else {
                    continue;
                };
                broken.extend(self.look_at_leader(life, &leader));
            }
        }
        broken
    }

    fn look_at_leader(&mut self, life: Life, leader: &Replica) -> Vec<String> {
        let mut broken = Vec::new();
        broken.extend(self.leaders.look(life, leader));
        broken.extend(self.high_watermark.look_at_leader(life, leader));
        broken
    }
}
