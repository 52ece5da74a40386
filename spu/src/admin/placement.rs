//! Who leads and who holds partitions, as Kafka clients ask any broker about it.

use thalweg_proto::{InvalidField, v1};
use thalweg_types::resource::Partition;
use thalweg_types::{SpuId, TopicPartition};

use super::{AdminError, AdminForward};

impl AdminForward {
    /// Holds an election in each of `partitions`, or in all.
    pub(crate) async fn elect_leaders(
        &self,
        partitions: Option<Vec<TopicPartition>>,
        unclean: bool,
    ) -> Result<Vec<v1::ElectionResult>, AdminError> {
        let request = v1::ElectLeadersRequest {
            all: partitions.is_none(),
            partitions: partitions.into_iter().flatten().map(Into::into).collect(),
            unclean,
        };
        let answer = self.admin().elect_leaders(request).await;
        Ok(self.answered(answer)?.results)
    }

    /// Begins to move a partition's replicas, or takes the move that is under way back.
    pub(crate) async fn move_replicas(
        &self,
        partition: TopicPartition,
        to: Option<Vec<SpuId>>,
    ) -> Result<v1::MovedPartition, AdminError> {
        let request = v1::MoveReplicasRequest {
            moves: vec![v1::PartitionMove {
                partition: Some(partition.into()),
                to: to.map(Into::into),
            }],
            validate_only: false,
        };
        let answer = self.admin().move_replicas(request).await;
        let mut results = self.answered(answer)?.results;
        results
            .pop()
            .ok_or_else(|| self.misunderstood(InvalidField::missing("results")))
    }

    /// Every partition of the cluster.
    pub(crate) async fn partitions(&self) -> Result<Vec<Partition>, AdminError> {
        let request = v1::ListPartitionsRequest::default();
        let answer = self.admin().list_partitions(request).await;
        let partitions = self.answered(answer)?.partitions.into_iter();
        partitions
            .map(|row| Partition::try_from(row).map_err(|source| self.misunderstood(source)))
            .collect()
    }
}
