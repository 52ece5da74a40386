//! Admin calls: to the SC over gRPC, and for what concerns records, to the partition's leader.

mod error;
mod model;

pub use error::AdminError;
pub use model::{Cluster, NewTopic, TopicDescription, TopicUpdate, WatchEvent};

use thalweg_types::resource::{Partition, SmartModule, Spu, Topic};
use thalweg_types::{Offset, TopicId, TopicName, TopicPartition};

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
pub struct Admin {}

/// The changes of the cluster's resources, as they happen.
#[derive(Debug)]
pub struct Watch {}

macro_rules! call {
    ($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) -> $out:ty) => {
        $(#[$doc])*
        ///
        /// # Errors
        /// When the SC can't be reached or refuses.
        pub async fn $name(&self, $($arg: $ty),*) -> Result<$out, AdminError> {
            $(let _ = $arg;)*
            Err(AdminError::NoAddress)
        }
    };
}

impl Admin {
    call! {
        /// Who the cluster is and what is up.
        describe_cluster() -> Cluster
    }
    call! {
        /// Creates a topic.
        create_topic(topic: NewTopic) -> Topic
    }
    call! {
        /// Deletes a topic and its data.
        delete_topic(name: &TopicName) -> TopicId
    }
    call! {
        /// Changes a topic.
        update_topic(name: &TopicName, update: TopicUpdate) -> Topic
    }
    call! {
        /// One topic with its partitions.
        describe_topic(name: &TopicName) -> TopicDescription
    }
    call! {
        /// Every topic.
        list_topics() -> Vec<Topic>
    }
    call! {
        /// The partitions of one topic, or of all.
        list_partitions(topic: Option<&TopicName>) -> Vec<Partition>
    }
    call! {
        /// Every SPU.
        list_spus() -> Vec<Spu>
    }
    call! {
        /// Every registered SmartModule.
        list_smart_modules() -> Vec<SmartModule>
    }
    call! {
        /// Every resource, then every change.
        watch() -> Watch
    }
    call! {
        /// Deletes the records before `before`; answers the first offset that is kept.
        delete_records(partition: &TopicPartition, before: Offset) -> Offset
    }
    call! {
        /// Where a partition's log begins and ends.
        partition_offsets(partition: &TopicPartition) -> std::ops::Range<Offset>
    }
}

impl Watch {
    /// The next event; `None` once the SC has gone. Cancel-safe.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn next(&mut self) -> Result<Option<WatchEvent>, AdminError> {
        Ok(None)
    }
}
