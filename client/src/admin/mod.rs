//! Admin calls: to the SC over gRPC, and for what concerns records, to the partition's leader.

mod error;
mod groups;
mod model;
mod placement;
mod records;
mod sc;
mod smart_modules;
mod transforms;
mod watch;

pub use error::AdminError;
pub use groups::{GroupDescription, GroupEpochs, GroupListing, GroupMember, GroupOffset};
pub use model::{
    Cluster, NewSmartModule, NewTopic, RegisteredSmartModule, SmartModuleDescription,
    SmartModuleUse, SmartModuleUser, TopicDescription, TopicUpdate, WatchEvent,
};
pub use placement::{
    Election, ElectionOutcome, FailedReplica, HeldPartition, PlannedMove, RebalancePlan,
    ReplicaMoved, SpuDrain,
};
pub(crate) use sc::ScClient;
pub use transforms::{
    NewTransform, TransformDescription, TransformListing, TransformPartition, TransformUpdate,
};
pub use watch::Watch;

use std::ops::Range;
use std::sync::Arc;

use thalweg_proto::v1;
use thalweg_types::resource::{Partition, Spu, Topic, TopicSpec};
use thalweg_types::{ControllerEpoch, Offset, TopicId, TopicName, TopicPartition};

use crate::client::{Client, ClientCore};
use sc::{all, parsed, required};

/// The cluster's administration. Cheap to clone.
///
/// ```no_run
/// use thalweg_client::{Client, ClientOptions, NewTopic};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(ClientOptions::new("127.0.0.1:9003")).await?;
/// let admin = client.admin();
/// admin.create_topic(NewTopic::new("flights".parse()?, 4)).await?;
/// for topic in admin.list_topics().await? {
///     println!("{}", topic.name);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    core: Arc<ClientCore>,
}

impl Admin {
    pub(crate) fn new(core: Arc<ClientCore>) -> Self {
        Self { core }
    }

    /// Who the cluster is and what is up.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn describe_cluster(&self) -> Result<Cluster, AdminError> {
        let mut sc = self.sc().client()?;
        let reply = sc.describe_cluster(v1::DescribeClusterRequest {}).await;
        let reply = self.sc().answered(reply)?;
        Ok(Cluster {
            id: parsed("cluster_id", &reply.cluster_id)?,
            controller_epoch: ControllerEpoch(reply.controller_epoch),
            software_version: reply.software_version,
            spus: all("spus", reply.spus)?,
        })
    }

    /// Creates a topic. Returns once the SC has stored it; its partitions come online after.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: the topic exists, or a field is not allowed.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Topic, AdminError> {
        let NewTopic {
            name,
            placement,
            config,
            produce_chain,
            validate_only,
        } = topic;
        let request = v1::CreateTopicRequest {
            name: name.to_string(),
            spec: Some(
                TopicSpec {
                    placement,
                    config,
                    produce_chain,
                }
                .into(),
            ),
            validate_only,
        };
        let reply = self.sc().client()?.create_topic(request).await;
        required("topic", self.sc().answered(reply)?.topic)
    }

    /// Deletes a topic and its data.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such topic.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<TopicId, AdminError> {
        let request = v1::DeleteTopicRequest {
            name: name.to_string(),
        };
        let reply = self.sc().client()?.delete_topic(request).await;
        parsed("topic_id", &self.sc().answered(reply)?.topic_id)
    }

    /// Changes a topic's settings, or adds partitions.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: no such topic, a setting that is not allowed,
    /// or a topic that has changed since `expected_version`.
    pub async fn update_topic(
        &self,
        name: &TopicName,
        update: TopicUpdate,
    ) -> Result<Topic, AdminError> {
        let TopicUpdate {
            set_config,
            unset_config,
            partitions,
            added_assignments,
            produce_chain,
            expected_version,
            validate_only,
        } = update;
        let request = v1::UpdateTopicRequest {
            name: name.to_string(),
            set_config: set_config.into_iter().collect(),
            unset_config,
            partitions,
            added_assignments: added_assignments.into_iter().map(Into::into).collect(),
            expected_version: expected_version.map(|version| version.0),
            validate_only,
            produce_chain: produce_chain.map(Into::into),
        };
        let reply = self.sc().client()?.update_topic(request).await;
        required("topic", self.sc().answered(reply)?.topic)
    }

    /// One topic with its partitions.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such topic.
    pub async fn describe_topic(&self, name: &TopicName) -> Result<TopicDescription, AdminError> {
        let request = v1::GetTopicRequest {
            name: name.to_string(),
        };
        let reply = self.sc().client()?.get_topic(request).await;
        let reply = self.sc().answered(reply)?;
        Ok(TopicDescription {
            topic: required("topic", reply.topic)?,
            partitions: all("partitions", reply.partitions)?,
        })
    }

    /// Every topic.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn list_topics(&self) -> Result<Vec<Topic>, AdminError> {
        let reply = self
            .sc()
            .client()?
            .list_topics(v1::ListTopicsRequest {})
            .await;
        all("topics", self.sc().answered(reply)?.topics)
    }

    /// The partitions of one topic, or of all.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such topic.
    pub async fn list_partitions(
        &self,
        topic: Option<&TopicName>,
    ) -> Result<Vec<Partition>, AdminError> {
        let request = v1::ListPartitionsRequest {
            topic: topic.map(ToString::to_string).unwrap_or_default(),
        };
        let reply = self.sc().client()?.list_partitions(request).await;
        all("partitions", self.sc().answered(reply)?.partitions)
    }

    /// Every SPU.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn list_spus(&self) -> Result<Vec<Spu>, AdminError> {
        self.sc().list_spus().await
    }

    /// Every resource as it is, then every change.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn watch(&self) -> Result<Watch, AdminError> {
        let reply = self.sc().client()?.watch(v1::WatchRequest {}).await;
        Ok(Watch::new(self.sc().clone(), self.sc().answered(reply)?))
    }

    /// Deletes the records of a partition before `before`; answers the first offset that is kept.
    /// This asks the partition's leader, not the SC.
    ///
    /// # Errors
    /// When the leader can't be reached, or refuses: `before` is beyond the high watermark.
    pub async fn delete_records(
        &self,
        partition: &TopicPartition,
        before: Offset,
    ) -> Result<Offset, AdminError> {
        records::delete_records(&self.core, partition, before).await
    }

    /// Where a partition's log begins and ends, as consumers see it. This asks the partition's
    /// leader, not the SC.
    ///
    /// # Errors
    /// When the leader can't be reached, or there is no such partition.
    pub async fn partition_offsets(
        &self,
        partition: &TopicPartition,
    ) -> Result<Range<Offset>, AdminError> {
        records::partition_offsets(&self.core, partition).await
    }

    fn sc(&self) -> &ScClient {
        &self.core.sc
    }

    fn client(&self) -> Client {
        Client::of(Arc::clone(&self.core))
    }
}
