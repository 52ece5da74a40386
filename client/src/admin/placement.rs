//! Admin calls about who leads and who holds partitions.

use thalweg_proto::v1;
use thalweg_types::{SpuId, TopicPartition};

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

impl Admin {
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
