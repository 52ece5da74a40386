//! An SPU as the model has it: its log, and its reign or whom it follows.

use std::time::Duration;

use thalweg_types::{CopyLife, CopyNumber, Incarnation, LeaderEpoch, Offset, SpuId};

use crate::bounds::Rules;
use crate::controller::{SPU_COUNT, Status};
use crate::epoch_cache::EpochCache;
use crate::followers::{FollowerPosition, Followers, Membership};
use crate::high_watermark::HighWatermark;

/// A record in a log: each is a batch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry {
    pub epoch: LeaderEpoch,
    pub record: u8,
}

/// One SPU.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Spu {
    pub(crate) running: bool,
    pub(crate) life: Incarnation,
    /// Of the copies of this life.
    pub(crate) copy: CopyNumber,
    /// A batch of it is damaged, and it knows.
    pub(crate) damaged: bool,
    /// The copy that the SC lets go if it is damaged.
    pub(crate) may_go: CopyNumber,
    /// Whether its last life ended so that it may lack what it had.
    pub(crate) may_lack: bool,
    pub(crate) log: Vec<Entry>,
    /// Up to where the topic's durability is met.
    pub(crate) stable: usize,
    pub(crate) high_watermark: Offset,
    pub(crate) role: Role,
    /// What it was last told.
    pub(crate) told: Status,
}

/// What an SPU is to the partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Role {
    Nothing,
    Leads(Reign),
    Follows {
        leader: Option<SpuId>,
        epoch: LeaderEpoch,
    },
}

/// One reign, as `spu::replica::Replica` has it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reign {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) start: Offset,
    pub(crate) followers: Followers,
    pub(crate) mark: HighWatermark,
    /// What each follower said last.
    pub(crate) heard: [Option<FollowerPosition>; SPU_COUNT],
    pub(crate) in_sync: usize,
    /// On its own clock.
    pub(crate) now: Duration,
    /// Records that wait for the high watermark to pass their ends.
    pub(crate) waiting: Vec<(Offset, u8)>,
}

impl Spu {
    pub(crate) fn new(told: Status) -> Self {
        Self {
            running: true,
            life: Incarnation(1),
            copy: CopyNumber(1),
            damaged: false,
            may_go: CopyNumber::default(),
            may_lack: false,
            log: Vec::new(),
            stable: 0,
            high_watermark: Offset::ZERO,
            role: Role::Nothing,
            told,
        }
    }

    pub(crate) fn copy_life(&self) -> CopyLife {
        CopyLife {
            process: self.life,
            copy: self.copy,
        }
    }

    /// It finds that a batch is damaged, and leads and follows no more.
    pub(crate) fn damage(&mut self) {
        self.damaged = true;
        self.role = Role::Nothing;
    }

    /// The damaged copy goes, and it follows again with an empty one.
    pub(crate) fn refill(&mut self, own: SpuId, replicas: &[SpuId], rules: Rules) {
        self.damaged = false;
        self.copy = self.copy.next();
        self.log.clear();
        self.stable = 0;
        self.high_watermark = Offset::ZERO;
        let told = self.told.clone();
        self.settle(own, &told, replicas, rules);
    }

    pub(crate) fn log_end(&self) -> Offset {
        offset(self.log.len())
    }

    pub(crate) fn stable_end(&self) -> Offset {
        offset(self.stable)
    }

    pub(crate) fn last_epoch(&self) -> LeaderEpoch {
        self.log
            .last()
            .map_or(LeaderEpoch::UNKNOWN, |last| last.epoch)
    }

    /// The newest epoch that is not after `epoch`, and where it ended.
    pub(crate) fn epoch_end(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let mut cache = EpochCache::default();
        for (start, entry) in self.log.iter().enumerate() {
            cache.assign(entry.epoch, offset(start));
        }
        if let Role::Leads(reign) = &self.role {
            cache.assign(reign.epoch, reign.start);
        }
        cache.end_of(epoch, self.log_end())
    }

    pub(crate) fn truncate(&mut self, end: Offset) {
        self.log.truncate(place(end));
        self.stable = self.stable.min(self.log.len());
        self.high_watermark = self.high_watermark.min(self.log_end());
    }

    pub(crate) fn learn_high_watermark(&mut self, offset: Offset) {
        self.high_watermark = self.high_watermark.max(offset.min(self.log_end()));
    }

    /// Takes over what it is told; `own` is its number.
    pub(crate) fn settle(&mut self, own: SpuId, status: &Status, replicas: &[SpuId], rules: Rules) {
        self.told = status.clone();
        if self.damaged {
            return;
        }
        let membership = Membership {
            replicas: replicas.to_vec(),
            isr: status.isr.clone(),
            partition_epoch: status.partition_epoch,
        };
        if status.leader != Some(own) {
            let (leader, epoch) = (status.leader, status.leader_epoch);
            let followed = Role::Follows { leader, epoch };
            if self.role != followed {
                self.role = followed;
                if !rules.part_by_epochs {
                    self.truncate(self.high_watermark);
                }
            }
            return;
        }
        if let Role::Leads(reign) = &mut self.role
            && reign.epoch == status.leader_epoch
        {
            reign.in_sync = membership.isr.len();
            let now = reign.now;
            reign.followers.update(membership, now);
            self.recount(own, rules);
            return;
        }
        let start = self.log_end();
        let joins_from = if rules.join_with_all {
            start
        } else {
            Offset::ZERO
        };
        self.role = Role::Leads(Reign {
            epoch: status.leader_epoch,
            start,
            in_sync: membership.isr.len(),
            mark: HighWatermark::new(self.high_watermark, membership.isr.iter().copied()),
            followers: Followers::new(own, membership, joins_from, Duration::ZERO),
            heard: [None; SPU_COUNT],
            now: Duration::ZERO,
            waiting: Vec::new(),
        });
        self.observe_own(own);
    }

    /// Counts the followers that are in sync, or may be, and no others.
    pub(crate) fn recount(&mut self, own: SpuId, rules: Rules) {
        let stable_end = self.stable_end();
        let Role::Leads(reign) = &mut self.role else {
            return;
        };
        let counted = if rules.count_joining {
            reign.followers.counted()
        } else {
            self.told.isr.clone()
        };
        let followers = &reign.followers;
        reign.mark.set_isr(counted.into_iter().map(|spu| {
            let known = if spu == own {
                Some(stable_end)
            } else {
                followers.stable_end(spu)
            };
            (spu, known.unwrap_or_default())
        }));
        self.observe_own(own);
    }

    /// Notes how far its own log is stable.
    pub(crate) fn observe_own(&mut self, own: SpuId) {
        let stable_end = self.stable_end();
        if let Role::Leads(reign) = &mut self.role {
            let offset = reign.mark.observe(own, stable_end);
            self.learn_high_watermark(offset);
        }
    }

    /// Takes the records whose ends the high watermark has passed, each with its offset; those that
    /// too few replicas keep are not acknowledged.
    pub(crate) fn acknowledge(&mut self, min_isr: usize) -> Vec<(Offset, u8)> {
        let Role::Leads(reign) = &mut self.role else {
            return Vec::new();
        };
        let reached = reign.mark.offset();
        let is_done = |waiting: &(Offset, u8)| waiting.0 <= reached;
        let done: Vec<_> = reign.waiting.iter().copied().filter(is_done).collect();
        reign.waiting.retain(|waiting| !is_done(waiting));
        if reign.in_sync < min_isr {
            return Vec::new();
        }
        done.into_iter()
            .map(|(end, record)| (Offset(end.0 - 1), record))
            .collect()
    }

    /// What a client is told of the log's end: nothing before it is known to be as high as in any
    /// reign before.
    pub(crate) fn known_high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leads(reign) => Some(reign.mark.offset()).filter(|known| *known >= reign.start),
            _ => None,
        }
    }
}

/// A place in a log as an offset.
pub(crate) fn offset(place: usize) -> Offset {
    Offset(i64::try_from(place).expect("the model's logs are short"))
}

/// An offset as a place in a log.
pub(crate) fn place(offset: Offset) -> usize {
    usize::try_from(offset.0.max(0)).expect("the model's logs are short")
}
