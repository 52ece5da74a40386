//! The topics that clients work on.

use thalweg_client::{Admin, NewTopic, resource};
use thalweg_types::TopicName;
use thalweg_types::resource::ReplicaPlacement;

use crate::healed::in_time;

/// How many replicas each partition has.
const REPLICATION: i32 = 3;

/// What a topic is made of.
#[derive(Debug, Clone, Copy)]
pub struct TopicOptions {
    pub partitions: i32,
    /// `fsync` or `memory`.
    pub durability: &'static str,
    /// How large a segment gets; small, so that many are begun.
    pub segment_bytes: &'static str,
}

/// Makes a topic of which two replicas at least have what is acknowledged, and waits for its leaders.
///
/// # Errors
/// When it can't be made, or nobody leads it.
pub async fn create_topic(
    admin: &Admin,
    name: &TopicName,
    options: TopicOptions,
) -> anyhow::Result<()> {
    let mut topic = NewTopic::new(name.clone(), options.partitions);
    topic.placement = ReplicaPlacement::Computed {
        partitions: options.partitions,
        replication_factor: REPLICATION,
    };
    let settings = [
        ("durability", options.durability),
        ("min.insync.replicas", "2"),
        ("segment.bytes", options.segment_bytes),
    ];
    for (key, value) in settings {
        topic.config.set(key, value)?;
    }
    admin.create_topic(topic).await?;
    in_time("the topic has leaders", || async {
        let partitions = partitions(admin, std::slice::from_ref(name)).await?;
        partitions
            .iter()
            .all(|partition| partition.status.leader.is_some())
            .then_some(())
    })
    .await
}

/// All partitions of the topics, one topic after the other.
pub async fn partitions(admin: &Admin, topics: &[TopicName]) -> Option<Vec<resource::Partition>> {
    let mut partitions = Vec::new();
    for topic in topics {
        partitions.extend(admin.describe_topic(topic).await.ok()?.partitions);
    }
    Some(partitions)
}
