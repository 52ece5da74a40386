//! What must hold at every moment, one property per file. The simulation looks into the SPUs while
//! they run; what clients can see is a matter for when the run is over (`client_views`).

mod client_views;
mod high_watermark_never_back;
mod offsets_are_dense;
mod one_leader_per_epoch;
mod replicas_agree;

use std::sync::{Arc, Weak};

use thalweg_spu::replica::Replica;
use thalweg_storage::Log;
use thalweg_types::{PartitionId, PartitionIndex, TopicName};

pub(crate) use self::client_views::client_views;
use self::high_watermark_never_back::HighWatermarkNeverBack;
use self::offsets_are_dense::offsets_are_dense;
use self::one_leader_per_epoch::OneLeaderPerEpoch;
use self::replicas_agree::ReplicasAgree;
use crate::spu_host::SpuHost;

/// A log as some SPU has it open: each has a number of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Copy {
    pub(crate) spu: i32,
    pub(crate) partition: PartitionId,
    pub(crate) number: usize,
}

/// Looks at all SPUs, and keeps what later looks are compared with.
#[derive(Debug, Default)]
pub(crate) struct Invariants {
    high_watermark: HighWatermarkNeverBack,
    leaders: OneLeaderPerEpoch,
    copies: ReplicasAgree,
    /// Every log that was seen open. That it is kept here keeps its place from being another's.
    opened: Vec<Weak<Log>>,
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
            let Some(context) = spu.serving() else {
                continue;
            };
            let mut logs: Vec<(PartitionId, Arc<Log>)> = context.replicas.logs();
            logs.sort_by_key(|(id, _)| *id);
            for (partition, log) in logs {
                let copy = Copy {
                    spu: spu.id(),
                    partition,
                    number: self.number(&log),
                };
                broken.extend(self.high_watermark.look(copy, &log));
                broken.extend(self.copies.look(copy, &log));
            }
            for index in 0..partition_count {
                let found = context.replicas.leader(topic, PartitionIndex(index), None);
                let Some(leader) = found.ok().filter(|leader| !leader.has_ended()) else {
                    continue;
                };
                broken.extend(self.look_at_leader(spu.id(), &leader));
            }
        }
        broken
    }

    fn number(&mut self, log: &Arc<Log>) -> usize {
        let this = Arc::downgrade(log);
        let known = self.opened.iter().rposition(|open| open.ptr_eq(&this));
        known.unwrap_or_else(|| {
            self.opened.push(this);
            self.opened.len() - 1
        })
    }

    fn look_at_leader(&mut self, spu: i32, leader: &Replica) -> Vec<String> {
        let mut broken = Vec::new();
        broken.extend(self.leaders.look(spu, leader));
        broken.extend(self.high_watermark.look_at_leader(spu, leader));
        broken
    }
}
