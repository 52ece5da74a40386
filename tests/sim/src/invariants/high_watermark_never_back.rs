//! **The high watermark never goes back**: neither that of a copy that holds something, as long as it is
//! open, nor what leaders of a partition say, one after the other. One whose reign others have ended, and that has
//! not heard of it, may still say what was true then.

use std::collections::BTreeMap;

use thalweg_spu::replica::Replica;
use thalweg_storage::Log;
use thalweg_types::{LeaderEpoch, Offset, PartitionId};

use super::Copy;

#[derive(Debug, Default)]
pub(super) struct HighWatermarkNeverBack {
    copies: BTreeMap<usize, Offset>,
    /// The largest that a leader has said, and the newest epoch of one that said anything.
    leaders: BTreeMap<PartitionId, (LeaderEpoch, Offset)>,
}

impl HighWatermarkNeverBack {
    pub(super) fn look(&mut self, copy: Copy, log: &Log) -> Option<String> {
        if log.log_start() == log.log_end() {
            // One that begins anew may begin with the batch that its leader's log starts inside of.
            self.copies.remove(&copy.number);
            return None;
        }
        let now = log.high_watermark();
        let known = self.copies.entry(copy.number).or_insert(now);
        let before = std::mem::replace(known, now);
        let Copy { spu, partition, .. } = copy;
        (now < before).then(|| {
            format!("high watermark never back: SPU {spu} had {before} of {partition}, and now has {now}")
        })
    }

    pub(super) fn look_at_leader(&mut self, spu: i32, leader: &Replica) -> Option<String> {
        let (id, epoch) = (leader.id(), leader.leader_epoch());
        let now = leader.known_high_watermark()?;
        let (newest, largest) = self.leaders.entry(id).or_insert((epoch, now));
        if epoch < *newest {
            return None;
        }
        let before = *largest;
        (*newest, *largest) = (epoch, now.max(before));
        (now < before).then(|| {
            format!(
                "high watermark never back: leaders of {id} said {before}, and SPU {spu} in epoch {epoch} says {now}"
            )
        })
    }
}
