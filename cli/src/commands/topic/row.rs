//! One topic as the commands show it.

use serde::Serialize;
use thalweg_client::resource::{Topic, TopicState};
use thalweg_types::{ChainSpec, TopicConfig, TopicId, TopicName};

/// A topic in short.
#[derive(Debug, Serialize)]
pub(super) struct TopicRow {
    pub(super) name: TopicName,
    pub(super) id: TopicId,
    pub(super) partitions: i32,
    pub(super) replication: i32,
    pub(super) state: TopicState,
    /// Why it is not provisioned.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    /// What the user set.
    pub(super) config: TopicConfig,
    /// What every producer's records go through.
    #[serde(skip_serializing_if = "ChainSpec::is_empty")]
    pub(super) transforms: ChainSpec,
}

impl From<Topic> for TopicRow {
    fn from(topic: Topic) -> Self {
        Self {
            name: topic.name,
            id: topic.id,
            partitions: topic.spec.placement.partition_count(),
            replication: topic.spec.placement.replication_factor(),
            state: topic.status.state,
            reason: topic.status.reason,
            config: topic.spec.config,
            transforms: topic.spec.produce_chain,
        }
    }
}

impl TopicRow {
    /// The state in a word.
    pub(super) fn state(&self) -> String {
        match self.state {
            TopicState::Pending => "pending",
            TopicState::Provisioned => "provisioned",
            TopicState::Deleting => "deleting",
        }
        .to_owned()
    }

    /// `key=value`, comma-separated.
    pub(super) fn config(&self) -> String {
        let settings: Vec<_> = self
            .config
            .overrides()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        settings.join(",")
    }
}
