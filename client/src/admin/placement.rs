//! Admin calls about who leads and who holds partitions.

use thalweg_proto::v1;
use thalweg_types::resource::{Partition, Spu};
use thalweg_types::{SpuId, TopicName, TopicPartition};

use super::sc::required;
use super::{Admin, AdminError};

/// Which leader an election is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Election {
    /// The preferred replica, the first, where it is in sync.
    Preferred,
    /// A replica that is not in sync, where no in-sync one can lead: what it lacks is lost.
    Unclean,
}

/// What became of an election in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElectionOutcome {
    /// This SPU leads now.
    Elected(SpuId),
    /// This SPU leads already.
    NotNeeded(SpuId),
    /// It can't be done, and why, for people.
    NotElected(String),
    /// There is no such partition.
    NoSuchPartition,
}

/// What became of one move of replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplicaMoved {
    /// The partition.
    pub partition: TopicPartition,
    /// Why it was refused, for people; empty where it was not.
    pub reason: String,
    /// Whether it was refused because what the move names does not exist: the partition, or an SPU.
    pub names_unknown: bool,
    /// The partition as it is now; absent where there is none.
    pub now: Option<Partition>,
}

/// The moves that would even out what the SPUs carry.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebalancePlan {
    /// What is left to move.
    pub moves: Vec<PlannedMove>,
    /// How many moves are under way, whoever began them.
    pub under_way: u32,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PlannedMove {
    /// The partition.
    pub partition: TopicPartition,
    /// Who holds it, or is to by a move that is under way.
    pub from: Vec<SpuId>,
    /// Who should hold it.
    pub to: Vec<SpuId>,
    /// Whether it has begun with this call.
    pub begun: bool,
}

/// An SPU that gives what it holds to others.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SpuDrain {
    /// The SPU.
    pub spu: Spu,
    /// What it holds as yet.
    pub held: Vec<HeldPartition>,
}

/// One partition on such an SPU.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldPartition {
    /// The partition.
    pub partition: TopicPartition,
    /// Why it can't leave, for people; empty where it does, or will in its turn.
    pub held_up: String,
}

/// A replica that has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FailedReplica {
    /// The partition.
    pub partition: TopicPartition,
    /// The SPU that holds it.
    pub spu: SpuId,
    /// How it failed, for people.
    pub reason: String,
    /// Whether the SPU has removed it and copies the partition from its leader anew.
    pub is_refilling: bool,
}

impl Admin {
    /// The replicas of one topic, or of all, that have failed, and those that are being refilled since.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such topic.
    pub async fn failed_replicas(
        &self,
        topic: Option<&TopicName>,
    ) -> Result<Vec<FailedReplica>, AdminError> {
        let request = v1::ListPartitionsRequest {
            topic: topic.map(ToString::to_string).unwrap_or_default(),
        };
        let reply = self.sc().client()?.list_partitions(request).await;
        let failed = self.sc().answered(reply)?.failed.into_iter();
        failed
            .map(|failed| {
                Ok(FailedReplica {
                    partition: required("partition", failed.partition)?,
                    spu: SpuId(failed.spu_id),
                    reason: failed.reason,
                    is_refilling: failed.is_refilling,
                })
            })
            .collect()
    }

    /// Holds an election in each of `partitions`, in all where `None`, and says what became of it.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn elect_leaders(
        &self,
        partitions: Option<Vec<TopicPartition>>,
        election: Election,
    ) -> Result<Vec<(TopicPartition, ElectionOutcome)>, AdminError> {
        let request = v1::ElectLeadersRequest {
            all: partitions.is_none(),
            partitions: keys(partitions.unwrap_or_default()),
            unclean: election == Election::Unclean,
        };
        let reply = self.sc().client()?.elect_leaders(request).await;
        let results = self.sc().answered(reply)?.results.into_iter();
        results.map(outcome).collect()
    }

    /// Begins to move replicas: of each partition to these SPUs, or, where `None`, back to where they
    /// were before the move that is under way.
    ///
    /// # Errors
    /// When the SC can't be reached. Each partition's answer says whether it was refused.
    pub async fn move_replicas(
        &self,
        moves: Vec<(TopicPartition, Option<Vec<SpuId>>)>,
        validate_only: bool,
    ) -> Result<Vec<ReplicaMoved>, AdminError> {
        let message = |(partition, to): (TopicPartition, Option<Vec<SpuId>>)| v1::PartitionMove {
            partition: Some(partition.into()),
            to: to.map(Into::into),
        };
        let request = v1::MoveReplicasRequest {
            moves: moves.into_iter().map(message).collect(),
            validate_only,
        };
        let reply = self.sc().client()?.move_replicas(request).await;
        let results = self.sc().answered(reply)?.results.into_iter();
        results
            .map(|result| {
                let v1::MovedPartition {
                    partition,
                    reason,
                    now,
                    names_unknown,
                } = result;
                Ok(ReplicaMoved {
                    partition: required("results.partition", partition)?,
                    reason,
                    names_unknown,
                    now: now
                        .map(|now| required("results.now", Some(now)))
                        .transpose()?,
                })
            })
            .collect()
    }

    /// Begins as many of the moves that would even out what the SPUs carry as may be under way at a
    /// time; with `dry_run` none. To be repeated as moves end.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn rebalance(&self, dry_run: bool) -> Result<RebalancePlan, AdminError> {
        let request = v1::RebalanceRequest { dry_run };
        let reply = self.sc().client()?.rebalance(request).await;
        let v1::RebalanceResponse { moves, under_way } = self.sc().answered(reply)?;
        let planned = |planned: v1::PlannedMove| {
            Ok(PlannedMove {
                partition: required("moves.partition", planned.partition)?,
                from: required("moves.from", planned.from)?,
                to: required("moves.to", planned.to)?,
                begun: planned.begun,
            })
        };
        Ok(RebalancePlan {
            moves: moves
                .into_iter()
                .map(planned)
                .collect::<Result<_, AdminError>>()?,
            under_way,
        })
    }

    /// Has an SPU give all that it holds to others, or ends that; says what it holds as yet.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such SPU.
    pub async fn drain_spu(&self, spu: SpuId, draining: bool) -> Result<SpuDrain, AdminError> {
        let id = spu.0;
        let request = v1::DrainSpuRequest { id, draining };
        let reply = self.sc().client()?.drain_spu(request).await;
        let v1::DrainSpuResponse { spu, held } = self.sc().answered(reply)?;
        let held_partition = |held: v1::HeldPartition| {
            Ok(HeldPartition {
                partition: required("held.partition", held.partition)?,
                held_up: held.held_up,
            })
        };
        Ok(SpuDrain {
            spu: required("spu", spu)?,
            held: held
                .into_iter()
                .map(held_partition)
                .collect::<Result<_, AdminError>>()?,
        })
    }

    /// Removes an SPU that is down and holds nothing.
    ///
    /// # Errors
    /// When the SC can't be reached or refuses: no such SPU, or it is up, or holds partitions.
    pub async fn remove_spu(&self, spu: SpuId) -> Result<(), AdminError> {
        let request = v1::RemoveSpuRequest { id: spu.0 };
        let reply = self.sc().client()?.remove_spu(request).await;
        let v1::RemoveSpuResponse {} = self.sc().answered(reply)?;
        Ok(())
    }
}

fn keys(partitions: Vec<TopicPartition>) -> Vec<v1::PartitionKey> {
    partitions.into_iter().map(Into::into).collect()
}

fn outcome(result: v1::ElectionResult) -> Result<(TopicPartition, ElectionOutcome), AdminError> {
    use v1::ElectionOutcome as Outcome;
    let kind = result.outcome();
    let v1::ElectionResult {
        partition,
        outcome: _,
        leader,
        reason,
    } = result;
    let leader = || {
        let field = "results.leader";
        leader.map(SpuId).ok_or(AdminError::InvalidReply { field })
    };
    let outcome = match kind {
        Outcome::Elected => ElectionOutcome::Elected(leader()?),
        Outcome::NotNeeded => ElectionOutcome::NotNeeded(leader()?),
        Outcome::NotElected => ElectionOutcome::NotElected(reason),
        Outcome::NoSuchPartition => ElectionOutcome::NoSuchPartition,
        Outcome::Unspecified => {
            let field = "results.outcome";
            return Err(AdminError::InvalidReply { field });
        }
    };
    Ok((required("results.partition", partition)?, outcome))
}
