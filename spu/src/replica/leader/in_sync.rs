//! Who is in sync with a reign: how far followers are, and what the SC is asked for.

use thalweg_types::{CopyLife, PartitionEpoch, SpuId};
use tracing::{debug, info};

use super::{Progress, Replica};
use crate::replica::followers::{FollowerPosition, WantedIsr};
use crate::replica::isr_changes::IsrChange;

impl Replica {
    /// Notes how far a follower is. Whether it holds a replica, in the life that it speaks of.
    pub fn follower_fetched(&self, spu: SpuId, position: FollowerPosition) -> bool {
        let now = self.clock.monotonic();
        let mut done = Vec::new();
        let wanted = {
            let mut progress = self.progress();
            let log_end = self.log.log_end();
            let counted = progress.followers.fetched(spu, position, log_end, now);
            let Some(counted) = counted else {
                return false;
            };
            let mark = progress.commit.high_watermark_mut();
            if counted.has_begun_anew {
                mark.forget(spu);
            }
            let high_watermark = mark.observe(spu, counted.stable_end);
            let wanted = progress
                .followers
                .ask(high_watermark, now, self.replica_lag_max);
            if wanted.is_some() {
                self.recount(&mut progress);
            }
            progress.commit.take_done(&mut done);
            self.publish(progress.commit.high_watermark_mut().offset());
            wanted
        };
        for waiter in done {
            waiter.send(self);
        }
        if let Some(wanted) = wanted {
            self.ask(wanted);
        }
        true
    }

    /// Looks which followers should leave the ISR. To be called several times in the lag that they
    /// are allowed.
    pub(in crate::replica) fn check_followers(&self) {
        if self.has_ended() {
            return;
        }
        let now = self.clock.monotonic();
        let wanted = {
            let mut progress = self.progress();
            let high_watermark = progress.commit.high_watermark_mut().offset();
            let wanted = progress
                .followers
                .ask(high_watermark, now, self.replica_lag_max);
            if wanted.is_some() {
                self.recount(&mut progress);
            }
            wanted
        };
        if let Some(wanted) = wanted {
            self.ask(wanted);
        }
    }

    /// The SC has refused what was asked for about the partition at `partition_epoch`.
    pub(in crate::replica) fn isr_refused(&self, partition_epoch: PartitionEpoch, reason: &str) {
        debug!(partition = %self.topic_partition, reason, "the SC refused a change of in-sync replicas");
        self.isr_changes.forget(self.id);
        let now = self.clock.monotonic();
        let mut progress = self.progress();
        progress.followers.refused(partition_epoch, now);
        self.recount(&mut progress);
        drop(progress);
        self.progressed(self.log.stable_end());
    }

    fn ask(&self, wanted: WantedIsr) {
        let life = CopyLife {
            process: self.incarnation,
            copy: self.log.copy(),
        };
        let isr = std::iter::once((self.spu_id, life))
            .chain(wanted.followers)
            .collect();
        info!(partition = %self.topic_partition, ?isr, "asking for other in-sync replicas");
        let change = IsrChange {
            leader_epoch: self.leader_epoch,
            partition_epoch: wanted.partition_epoch,
            isr,
        };
        self.isr_changes.ask(self.id, change);
    }

    /// Counts the followers that are in sync, or may be, and no others.
    pub(super) fn recount(&self, progress: &mut Progress) {
        let Progress { commit, followers } = progress;
        let counted = followers.counted();
        let mark = commit.high_watermark_mut();
        mark.set_isr(counted.iter().map(|spu| {
            let known = if *spu == self.spu_id {
                Some(self.log.stable_end())
            } else {
                followers.stable_end(*spu)
            };
            (*spu, known.unwrap_or_default())
        }));
    }
}
