//! Topics that the cluster keeps for itself: made when they are first needed.

use thalweg_metadata::Write;
use thalweg_types::resource::{
    ReplicaPlacement, ResourceVersion, Topic, TopicSpec, TopicState, TopicStatus,
};
use thalweg_types::{ChainSpec, ConfigKey, TopicConfig, TopicId, TopicName};
use tracing::info;
use uuid::Uuid;

use super::{ChangeError, Changing};

/// A topic that the cluster needs.
#[derive(Debug, Clone)]
pub(crate) struct InternalTopic {
    pub(crate) name: TopicName,
    pub(crate) partitions: i32,
    pub(crate) replication_factor: usize,
    /// Over the defaults. A test sees that they are allowed.
    pub(crate) settings: Vec<(ConfigKey, String)>,
}

impl InternalTopic {
    pub(crate) fn config(&self) -> TopicConfig {
        let mut config = TopicConfig::default();
        for (key, value) in &self.settings {
            config
                .set(key.name(), value)
                .expect("the settings are allowed, which a test checks");
        }
        config
    }

    /// A row that is to be stored, with an id of its own.
    pub(crate) fn into_row(self) -> Topic {
        Topic {
            id: TopicId(Uuid::new_v4()),
            spec: TopicSpec {
                placement: ReplicaPlacement::Computed {
                    partitions: self.partitions,
                    replication_factor: i32::try_from(self.replication_factor).unwrap_or(1),
                },
                config: self.config(),
                produce_chain: ChainSpec::default(),
            },
            name: self.name,
            status: TopicStatus {
                state: TopicState::Pending,
                reason: String::new(),
            },
            version: ResourceVersion(0),
        }
    }
}

impl Changing<'_> {
    /// Stores a topic that is missing, and places its partitions.
    pub(crate) async fn create_internal(&self, topic: InternalTopic) -> Result<(), ChangeError> {
        let (name, replication_factor) = (topic.name.clone(), topic.replication_factor);
        self.write(Write::Create(topic.into_row().into())).await?;
        self.reconcile().await.map_err(ChangeError::from)?;
        info!(topic = %name, replication_factor, "created an internal topic");
        Ok(())
    }
}
