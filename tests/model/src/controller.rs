//! The SC as the model has it: what it stores of the partition and whom it takes for alive.

use thalweg_types::resource::{Partition, PartitionSpec, PartitionStatus, ResourceVersion};
use thalweg_types::{
    CopyLife, CopyNumber, Incarnation, LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex,
    SpuId, TopicId,
};
use uuid::Uuid;

use crate::bounds::Rules;
use crate::election::{Fitness, distrusted, elect, first_status, leader_restarted};
use crate::isr::{IsrChange, changed};

/// How many SPUs there are; the partition is on all of them.
pub(crate) const SPU_COUNT: usize = 3;

/// What the SC says of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Status {
    pub leader: Option<SpuId>,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<SpuId>,
    pub partition_epoch: PartitionEpoch,
}

/// What the SC stores.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Controller {
    pub(crate) status: Status,
    /// Whom it takes for alive.
    pub(crate) online: [bool; SPU_COUNT],
    /// The life of each that registered last.
    pub(crate) lives: [Incarnation; SPU_COUNT],
    /// Which copy each has, where it has told.
    pub(crate) copies: [Option<CopyNumber>; SPU_COUNT],
    /// Which have told that they have failed.
    pub(crate) failed: [bool; SPU_COUNT],
}

/// The one partition's id.
pub(crate) const PARTITION: PartitionId = PartitionId {
    topic: TopicId(Uuid::from_u128(1)),
    partition: PartitionIndex(0),
};

/// All SPUs, in replica order.
pub(crate) fn replicas() -> Vec<SpuId> {
    (0..).take(SPU_COUNT).map(SpuId).collect()
}

/// Where an SPU is in an array.
pub(crate) fn index(spu: SpuId) -> usize {
    usize::try_from(spu.0).expect("SPUs are numbered from 0")
}

impl Controller {
    /// All SPUs are there, and the partition was just placed.
    pub(crate) fn new() -> Self {
        Self {
            status: first_status(&replicas(), |_| Fitness::Fit).into(),
            online: [true; SPU_COUNT],
            lives: [Incarnation(1); SPU_COUNT],
            copies: [Some(CopyNumber(1)); SPU_COUNT],
            failed: [false; SPU_COUNT],
        }
    }

    /// Takes an SPU for dead.
    pub(crate) fn lose(&mut self, spu: SpuId, rules: Rules) {
        self.online[index(spu)] = false;
        self.elect(rules);
    }

    /// An SPU says that it is there, in which life, and whether it may lack what it had acknowledged.
    pub(crate) fn register(&mut self, spu: SpuId, life: Incarnation, may_lack: bool, rules: Rules) {
        if self.lives[index(spu)] != life {
            let partition = self.partition();
            let distrusted = distrusted(&partition, spu).filter(|_| may_lack && rules.distrust);
            if let Some(status) = distrusted.or_else(|| leader_restarted(&partition, spu)) {
                self.status = status.into();
            }
            self.copies[index(spu)] = None;
            self.failed[index(spu)] = false;
        }
        self.lives[index(spu)] = life;
        self.online[index(spu)] = true;
        self.elect(rules);
    }

    /// An SPU says which copy it has and whether it has failed. Whether a failed one may be made anew.
    pub(crate) fn report(
        &mut self,
        spu: SpuId,
        copy: CopyNumber,
        failed: bool,
        rules: Rules,
    ) -> bool {
        self.copies[index(spu)] = Some(copy);
        self.failed[index(spu)] = failed;
        self.elect(rules);
        failed && self.may_refill(spu)
    }

    pub(crate) fn may_refill(&self, spu: SpuId) -> bool {
        let status = &self.status;
        !status.isr.contains(&spu) && status.leader.is_some_and(|leader| leader != spu)
    }

    /// Another SC takes over: it knows what is stored.
    pub(crate) fn restart(&mut self) {
        self.copies = [None; SPU_COUNT];
        self.failed = [false; SPU_COUNT];
    }

    /// Stores what a leader asks for, or refuses.
    pub(crate) fn change_isr(&mut self, leader: SpuId, change: &IsrChange, rules: Rules) -> bool {
        let life = |spu: SpuId| {
            let asked = change.isr.iter().find(|(member, _)| *member == spu);
            let asked = asked.map(|(_, life)| *life)?;
            let known = CopyLife {
                process: self.lives[index(spu)],
                copy: self.copies[index(spu)]?,
            };
            let is_fit = self.online[index(spu)] && !self.failed[index(spu)];
            // Without the rules any life, or any copy in it, will do.
            let life = CopyLife {
                process: if rules.check_lives {
                    known.process
                } else {
                    asked.process
                },
                copy: if rules.check_copies {
                    known.copy
                } else {
                    asked.copy
                },
            };
            (is_fit || !rules.check_lives).then_some(life)
        };
        match changed(&self.partition(), leader, change, life) {
            Ok(status) => {
                self.status = status.into();
                true
            }
            Err(_) => false,
        }
    }

    fn elect(&mut self, rules: Rules) {
        let mut partition = self.partition();
        if !rules.elect_in_sync {
            partition.status.isr = replicas();
        }
        let fitness = |spu: SpuId| match (self.online[index(spu)], self.failed[index(spu)]) {
            (true, false) => Fitness::Fit,
            (true, true) => Fitness::Unfit("it has failed".to_owned()),
            (false, _) => Fitness::Unfit("it is down".to_owned()),
        };
        if let Some(status) = elect(&partition, false, fitness) {
            self.status = status.into();
        }
    }

    fn partition(&self) -> Partition {
        Partition {
            topic: "t".parse().expect("the name is allowed"),
            id: PARTITION,
            spec: PartitionSpec::held_by(replicas()),
            status: PartitionStatus {
                leader: self.status.leader,
                leader_epoch: self.status.leader_epoch,
                isr: self.status.isr.clone(),
                partition_epoch: self.status.partition_epoch,
                reason: String::new(),
                unclean_elections: 0,
            },
            version: ResourceVersion(1),
        }
    }
}

impl From<PartitionStatus> for Status {
    fn from(status: PartitionStatus) -> Self {
        Self {
            leader: status.leader,
            leader_epoch: status.leader_epoch,
            isr: status.isr,
            partition_epoch: status.partition_epoch,
        }
    }
}
