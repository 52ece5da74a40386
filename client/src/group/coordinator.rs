//! The SPU that keeps a group: found, and asked until it answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions};
use thalweg_types::{ErrorCode, Offset, PartitionIndex, TopicName, TopicPartition};
use thalweg_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use thalweg_wire::messages::{
    FindCoordinatorRequest, GroupId, OffsetCommitRequest, OffsetFetchRequest,
};
use thalweg_wire::{ApiRequest, KafkaError, StrBytes, kafka_error};
use tokio::time::Instant;
use tracing::debug;

use super::Offsets;
use super::standing::Identity;
use crate::client::ClientCore;
use crate::data::{Connections, RequestError, kafka_name};

/// What FindCoordinator calls a group.
const GROUP_KEY_TYPE: i8 = 0;
/// What stands for no generation: of a commit by nobody's member.
const NO_GENERATION: i32 = -1;

const RETRY: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(20),
    max: Duration::from_secs(1),
};

/// One group's coordinator.
#[derive(Debug)]
pub(crate) struct Coordinator {
    core: Arc<ClientCore>,
    group: String,
    /// Of its own: an answer to a join takes as long as other members do.
    connections: Connections,
    address: Mutex<Option<String>>,
}

/// Why the coordinator did not do what it was asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CoordinatorError {
    /// It refused.
    #[error("the coordinator of the group answered {} ({})", kafka_name(error.code()), error.code())]
    Refused {
        /// How.
        error: KafkaError,
    },
    /// It could not be asked.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Coordinator {
    pub(crate) fn new(core: Arc<ClientCore>, group: &str) -> Self {
        let options = core.connection_options(core.request_timeout());
        let connections = Connections::new(options, core.tasks.clone());
        Self {
            core,
            group: group.to_owned(),
            connections,
            address: Mutex::default(),
        }
    }

    /// The group's name, as the protocol has it.
    pub(crate) fn group_id(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group.clone()))
    }

    /// Asks the coordinator, and the next one where the group has moved, for as long as `patience`
    /// lasts. `wait` is how long an answer may take, and `error_code` where it is in the answer.
    pub(crate) async fn call<R: ApiRequest>(
        &self,
        request: &R,
        (wait, patience): (Duration, Duration),
        mut error_code: impl FnMut(&R::Response) -> i16,
    ) -> Result<R::Response, CoordinatorError> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::new(RETRY);
        loop {
            let error = match self.try_call(request, wait).await {
                Ok(answer) => match kafka_error(error_code(&answer)) {
                    None => return Ok(answer),
                    Some(error) => CoordinatorError::Refused { error },
                },
                Err(error) => error,
            };
            let may_pass = match &error {
                CoordinatorError::Refused { error } => match error {
                    KafkaError::NotCoordinator | KafkaError::CoordinatorNotAvailable => {
                        self.forget();
                        true
                    }
                    KafkaError::CoordinatorLoadInProgress => true,
                    _ => false,
                },
                CoordinatorError::Request(error) => {
                    self.forget();
                    error.code().is_retryable() || error.code() == ErrorCode::OutcomeUnknown
                }
            };
            if !may_pass || Instant::now() >= deadline {
                return Err(error);
            }
            debug!(%error, group = self.group, "will ask the group's coordinator again");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn try_call<R: ApiRequest>(
        &self,
        request: &R,
        wait: Duration,
    ) -> Result<R::Response, CoordinatorError> {
        let address = self.find().await?;
        let connection = self.connections.get(&address).await?;
        Ok(connection.call(request, wait).await?)
    }

    async fn find(&self) -> Result<String, CoordinatorError> {
        if let Some(address) = self.known() {
            return Ok(address);
        }
        let group = StrBytes::from_string(self.group.clone());
        let request = FindCoordinatorRequest::default()
            .with_key_type(GROUP_KEY_TYPE)
            .with_coordinator_keys(vec![group]);
        let any = self.core.metadata.any_spu().await?;
        let connection = self.core.connections.get(&any).await?;
        let answer = connection
            .call(&request, self.core.request_timeout())
            .await?;
        let Some(found) = answer.coordinators.into_iter().next() else {
            let error = KafkaError::CoordinatorNotAvailable;
            return Err(CoordinatorError::Refused { error });
        };
        if let Some(error) = kafka_error(found.error_code) {
            return Err(CoordinatorError::Refused { error });
        }
        let address = format!("{}:{}", found.host, found.port);
        *self.address() = Some(address.clone());
        Ok(address)
    }

    /// Commits offsets of one topic: as a member, or of a group without members as nobody.
    pub(crate) async fn commit(
        &self,
        identity: Option<&Identity>,
        instance_id: Option<&str>,
        topic: &TopicName,
        offsets: &Offsets,
    ) -> Result<(), CoordinatorError> {
        let partitions = offsets.iter().map(|(partition, offset)| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.0)
                .with_committed_offset(offset.0)
                .with_committed_leader_epoch(-1)
                .with_committed_metadata(Some(StrBytes::default()))
        });
        let topic = OffsetCommitRequestTopic::default()
            .with_name(StrBytes::from_string(topic.to_string()).into())
            .with_partitions(partitions.collect());
        let member_id = identity.map_or("", |identity| &identity.member_id);
        let generation = identity.map_or(NO_GENERATION, |identity| identity.generation);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group_id())
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(StrBytes::from_string(member_id.to_owned()))
            .with_group_instance_id(instance_id.map(|id| StrBytes::from_string(id.to_owned())))
            .with_topics(vec![topic]);
        let wait = self.core.request_timeout();
        self.call(&request, (wait, wait), |answer| {
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            let mut codes = partitions.map(|partition| partition.error_code);
            codes.find(|code| *code != 0).unwrap_or_default()
        })
        .await?;
        Ok(())
    }

    /// What the group has committed of a topic's partitions; those it has nothing of are left out.
    pub(super) async fn committed(
        &self,
        topic: &TopicName,
        partitions: &[PartitionIndex],
        patience: Duration,
    ) -> Result<Offsets, CoordinatorError> {
        let asked = OffsetFetchRequestTopics::default()
            .with_name(StrBytes::from_string(topic.to_string()).into())
            .with_partition_indexes(partitions.iter().map(|partition| partition.0).collect());
        let committed = self.fetch_offsets(Some(vec![asked]), patience).await?;
        let of_topic = committed.into_iter();
        Ok(of_topic
            .map(|(of, offset)| (of.partition, offset))
            .collect())
    }

    /// All that the group has committed.
    pub(crate) async fn all_committed(
        &self,
        patience: Duration,
    ) -> Result<BTreeMap<TopicPartition, Offset>, CoordinatorError> {
        self.fetch_offsets(None, patience).await
    }

    async fn fetch_offsets(
        &self,
        topics: Option<Vec<OffsetFetchRequestTopics>>,
        patience: Duration,
    ) -> Result<BTreeMap<TopicPartition, Offset>, CoordinatorError> {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group_id())
            .with_topics(topics);
        let request = OffsetFetchRequest::default()
            .with_groups(vec![group])
            .with_require_stable(true);
        let answer = self
            .call(
                &request,
                (self.core.request_timeout(), patience),
                |answer| answer.groups.first().map_or(0, |group| group.error_code),
            )
            .await?;
        let mut committed = BTreeMap::new();
        for topic in answer.groups.into_iter().flat_map(|group| group.topics) {
            let Ok(name) = topic.name.parse::<TopicName>() else {
                continue;
            };
            for partition in topic.partitions {
                if let Some(error) = kafka_error(partition.error_code) {
                    return Err(CoordinatorError::Refused { error });
                }
                if partition.committed_offset < 0 {
                    continue;
                }
                let of = TopicPartition {
                    topic: name.clone(),
                    partition: PartitionIndex(partition.partition_index),
                };
                committed.insert(of, Offset(partition.committed_offset));
            }
        }
        Ok(committed)
    }

    /// `host:port` of the SPU that answered last.
    pub(crate) fn known(&self) -> Option<String> {
        self.address().clone()
    }

    fn forget(&self) {
        *self.address() = None;
    }

    fn address(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.address
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}
