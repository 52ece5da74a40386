//! Who leads a partition. Pure: what is stored and how fit each replica is in, the new status out.
//!
//! Rules:
//! - Only an in-sync replica may lead, and of those the first in replica order that is fit: its SPU
//!   is online and its replica has not failed.
//! - One whose SPU is being drained or is about to stop hands over to one that is fit. Where there is
//!   none, the one goes on, and the other until it stops.
//! - Every change of leader, to nobody too, gets a new leader epoch, so that no two reigns share
//!   one and a directive about the former can be told from one about the latter.
//! - A leader whose process has restarted keeps the partition with a new leader epoch: what its
//!   former life still has on the way is then recognised as old.
//! - A partition without a leader says why each in-sync replica may not lead. A reason alone is no
//!   new reign: it changes no epoch.
//! - An in-sync replica that is lost, or about to be, leaves the ISR at once, or producers would wait
//!   for it. Where nobody may lead the ISR stays as it is: its replicas are those that know what was
//!   acknowledged.
//! - After an unclean stop a replica of a topic with `durability: memory` may lack what it had
//!   acknowledged (KIP-966 names the case). It leaves the ISR, unless it is all of it, and comes back
//!   once it has caught up.
//! - Who was not in sync leads only where an unclean election is allowed, and is counted.

use thalweg_types::resource::{Partition, PartitionSpec, PartitionStatus};
use thalweg_types::{LeaderEpoch, PartitionEpoch, SpuId};

/// What speaks for and against a replica as a leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fitness {
    /// Nothing speaks against it.
    Fit,
    /// It leads where nobody else can: its SPU is being drained.
    Draining,
    /// It goes on leading where nobody else can, and is in sync beside nobody: its SPU is about to
    /// stop.
    Stopping,
    /// It can't lead, and why, for people.
    Unfit(String),
}

impl Fitness {
    fn is_fit(&self) -> bool {
        *self == Self::Fit
    }

    /// Whether it stays in sync beside others.
    fn stays(&self) -> bool {
        matches!(self, Self::Fit | Self::Draining)
    }

    /// Why it may not become the leader, for people; `None` where it may.
    fn refusal(self, spu: SpuId) -> Option<String> {
        match self {
            Self::Fit | Self::Draining => None,
            Self::Stopping => Some(format!("SPU {spu} is stopping")),
            Self::Unfit(reason) => Some(reason),
        }
    }
}

/// The status of a partition that was just placed on `replicas`.
///
/// All logs are empty, so every replica that stays is in sync.
#[must_use]
pub fn first_status(replicas: &[SpuId], fitness: impl Fn(SpuId) -> Fitness) -> PartitionStatus {
    let mut isr: Vec<_> = replicas.to_vec();
    isr.retain(|spu| fitness(*spu).stays());
    let fit = isr.iter().find(|spu| fitness(**spu).is_fit());
    let leader = fit.or(isr.first()).copied();
    // With nobody to lead, the preferred leader will be the first to.
    if isr.is_empty() {
        isr.extend(replicas.first());
    }
    PartitionStatus {
        leader,
        leader_epoch: LeaderEpoch(0),
        reason: reason(&isr, fitness),
        isr,
        partition_epoch: PartitionEpoch(0),
        unclean_elections: 0,
    }
}

/// The partition's next status, or `None` when nothing has to change. With `allows_unclean` a replica
/// that was not in sync leads where no in-sync one can.
#[must_use]
pub fn elect(
    partition: &Partition,
    allows_unclean: bool,
    fitness: impl Fn(SpuId) -> Fitness,
) -> Option<PartitionStatus> {
    let status = &partition.status;
    let staying = status.isr.iter().copied();
    let staying: Vec<_> = staying.filter(|spu| fitness(*spu).stays()).collect();
    let Some(leader) = choose(partition, &staying, &fitness) else {
        let unclean = allows_unclean.then(|| choose_unclean(partition, &fitness));
        return match unclean.flatten() {
            Some(leader) => Some(PartitionStatus {
                unclean_elections: status.unclean_elections + 1,
                ..led_by(status, leader, vec![leader])
            }),
            None => leaderless(status, fitness),
        };
    };
    let isr = if staying.is_empty() {
        vec![leader]
    } else {
        staying
    };
    if status.leader != Some(leader) {
        return Some(led_by(status, leader, isr));
    }
    (isr != status.isr).then(|| PartitionStatus {
        isr,
        partition_epoch: status.partition_epoch.next(),
        ..status.clone()
    })
}

/// The in-sync replica that should lead.
fn choose(
    partition: &Partition,
    staying: &[SpuId],
    fitness: impl Fn(SpuId) -> Fitness,
) -> Option<SpuId> {
    let present = partition.status.leader;
    let in_order = || {
        let replicas = partition.spec.replicas.iter().copied();
        replicas.filter(|spu| staying.contains(spu))
    };
    present
        .filter(|leader| fitness(*leader).is_fit())
        .or_else(|| in_order().find(|spu| fitness(*spu).is_fit()))
        .or(present.filter(|leader| staying.contains(leader)))
        .or_else(|| in_order().next())
        .or(present.filter(|leader| fitness(*leader) == Fitness::Stopping))
}

/// The replica that leads where no in-sync one can. One that a move has only just added is none: it
/// may hold nothing at all.
fn choose_unclean(partition: &Partition, fitness: impl Fn(SpuId) -> Fitness) -> Option<SpuId> {
    let PartitionSpec { replicas, moving } = &partition.spec;
    let is_new = |spu: &SpuId| {
        let moving = moving.as_ref();
        moving.is_some_and(|moving| !moving.from.contains(spu))
    };
    let held: Vec<_> = replicas.iter().filter(|spu| !is_new(spu)).collect();
    let fit = held.iter().find(|spu| fitness(***spu).is_fit());
    let found = fit.or_else(|| held.iter().find(|spu| fitness(***spu).stays()));
    found.map(|spu| **spu)
}

/// A new reign.
#[must_use]
pub(crate) fn led_by(status: &PartitionStatus, leader: SpuId, isr: Vec<SpuId>) -> PartitionStatus {
    PartitionStatus {
        leader: Some(leader),
        leader_epoch: status.leader_epoch.next(),
        isr,
        partition_epoch: status.partition_epoch.next(),
        reason: String::new(),
        unclean_elections: status.unclean_elections,
    }
}

/// The status while nobody may lead, where it is another than before.
fn leaderless(
    status: &PartitionStatus,
    fitness: impl Fn(SpuId) -> Fitness,
) -> Option<PartitionStatus> {
    let reason = reason(&status.isr, fitness);
    if status.leader.is_none() {
        return (reason != status.reason).then(|| PartitionStatus {
            reason,
            ..status.clone()
        });
    }
    Some(PartitionStatus {
        leader: None,
        leader_epoch: status.leader_epoch.next(),
        partition_epoch: status.partition_epoch.next(),
        reason,
        ..status.clone()
    })
}

/// Why none of `isr` may lead; empty when one may.
fn reason(isr: &[SpuId], fitness: impl Fn(SpuId) -> Fitness) -> String {
    let refusal = |spu: &SpuId| fitness(*spu).refusal(*spu);
    let reasons: Option<Vec<_>> = isr.iter().map(refusal).collect();
    reasons.unwrap_or_default().join("; ")
}

/// Why leadership does not go to the preferred replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotMoved {
    /// It leads already.
    Leads,
    /// It can't, and why, for people.
    CanNot(String),
}

/// The partition's next status with its preferred replica, the first, as the leader.
///
/// # Errors
/// When it leads already, or may not lead.
pub fn prefer(
    partition: &Partition,
    fitness: impl Fn(SpuId) -> Fitness,
) -> Result<PartitionStatus, NotMoved> {
    let status = &partition.status;
    let Some(preferred) = partition.spec.settled().first().copied() else {
        return Err(NotMoved::CanNot("it has no replicas".to_owned()));
    };
    if status.leader == Some(preferred) {
        return Err(NotMoved::Leads);
    }
    if !status.isr.contains(&preferred) {
        let reason = format!("its preferred replica, on SPU {preferred}, is not in sync");
        return Err(NotMoved::CanNot(reason));
    }
    match fitness(preferred) {
        Fitness::Fit => Ok(led_by(status, preferred, status.isr.clone())),
        Fitness::Draining => Err(NotMoved::CanNot(format!("SPU {preferred} is draining"))),
        other => {
            let reason = other.refusal(preferred).unwrap_or_default();
            Err(NotMoved::CanNot(reason))
        }
    }
}

/// The partition's next status after the process of `spu` has started anew, or `None` when it
/// doesn't lead.
#[must_use]
pub fn leader_restarted(partition: &Partition, spu: SpuId) -> Option<PartitionStatus> {
    let status = &partition.status;
    (status.leader == Some(spu)).then(|| PartitionStatus {
        leader_epoch: status.leader_epoch.next(),
        partition_epoch: status.partition_epoch.next(),
        ..status.clone()
    })
}

/// The partition's next status after `spu` has come back from an unclean stop, where its topic has
/// `durability: memory`; `None` when it is not in the ISR, or all of it.
///
/// Who leads then is a matter of the next election.
#[must_use]
pub fn distrusted(partition: &Partition, spu: SpuId) -> Option<PartitionStatus> {
    let status = &partition.status;
    if !status.isr.contains(&spu) || status.isr.len() == 1 {
        return None;
    }
    let others = status.isr.iter().copied().filter(|other| *other != spu);
    let led = status.leader == Some(spu);
    Some(PartitionStatus {
        leader: status.leader.filter(|_| !led),
        leader_epoch: if led {
            status.leader_epoch.next()
        } else {
            status.leader_epoch
        },
        isr: others.collect(),
        partition_epoch: status.partition_epoch.next(),
        reason: if led {
            format!("SPU {spu} stopped uncleanly and may lack records")
        } else {
            status.reason.clone()
        },
        unclean_elections: status.unclean_elections,
    })
}

#[cfg(test)]
mod tests;
