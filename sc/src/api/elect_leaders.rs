//! `ElectLeaders`: leadership back to preferred replicas, or to ones that are not in sync.

use thalweg_proto::InvalidField;
use thalweg_proto::v1::{
    ElectLeadersRequest, ElectLeadersResponse, ElectionOutcome, ElectionResult,
};
use thalweg_types::TopicPartition;

use super::error::ApiError;
use crate::state::{Controller, Election, Outcome};

pub(super) async fn elect_leaders(
    controller: &Controller,
    request: ElectLeadersRequest,
) -> Result<ElectLeadersResponse, ApiError> {
    let ElectLeadersRequest {
        partitions,
        all,
        unclean,
    } = request;
    if all != partitions.is_empty() {
        let reason = "name some, or set `all`";
        return Err(InvalidField::new("partitions", reason).into());
    }
    let mut wanted = Vec::with_capacity(partitions.len());
    for key in partitions {
        wanted.push(TopicPartition::try_from(key)?);
    }
    let changing = controller.change().await;
    if all {
        wanted.extend(changing.observe().await?.partitions.keys().cloned());
    }
    let election = if unclean {
        Election::Unclean
    } else {
        Election::Preferred
    };
    let outcomes = changing.elect_leaders(&wanted, election).await?;
    let results = wanted.into_iter().zip(outcomes);
    Ok(ElectLeadersResponse {
        results: results.map(result).collect(),
    })
}

fn result((partition, outcome): (TopicPartition, Outcome)) -> ElectionResult {
    let (outcome, leader, reason) = match outcome {
        Outcome::Elected(leader) => (ElectionOutcome::Elected, Some(leader.0), String::new()),
        Outcome::NotNeeded(leader) => (ElectionOutcome::NotNeeded, Some(leader.0), String::new()),
        Outcome::NotElected(reason) => (ElectionOutcome::NotElected, None, reason),
        Outcome::NoSuchPartition => {
            let reason = "it does not exist; `thalweg partition list` shows those that do";
            (ElectionOutcome::NoSuchPartition, None, reason.to_owned())
        }
    };
    ElectionResult {
        partition: Some(partition.into()),
        outcome: outcome.into(),
        leader,
        reason,
    }
}
