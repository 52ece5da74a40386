//! Thalweg's client: producer, consumer and admin.
//!
//! Everything begins with a [`Client`], which knows one cluster. From it come:
//!
//! - [`Producer`]: sends records to a topic, in batches, each stored once and in order;
//! - [`Consumer`]: reads a topic from any position, through SmartModules if wanted;
//! - [`Admin`]: creates, lists, changes and watches the cluster's resources.
//!
//! ```no_run
//! use thalweg_client::{
//!     Client, ClientOptions, ConsumerOptions, EndOffset, NewTopic, ProducerOptions,
//!     ProducerRecord, StartOffset,
//! };
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect(ClientOptions::new("127.0.0.1:9003")).await?;
//! let topic = "flights".parse()?;
//! client.admin().create_topic(NewTopic::new("flights".parse()?, 4)).await?;
//!
//! let producer = client.producer(&topic, ProducerOptions::default()).await?;
//! producer.send(ProducerRecord::new(b"2013-01-01,UA,1545").key(b"UA")).await?.await?;
//!
//! let everything = ConsumerOptions {
//!     start: StartOffset::Beginning,
//!     end: EndOffset::LogEnd,
//!     ..ConsumerOptions::default()
//! };
//! let mut consumer = client.consumer(&topic, everything).await?;
//! while let Some(batch) = consumer.next_batch().await? {
//!     println!("{} records", batch.record_count());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Producers and consumers speak the data protocol (Kafka's, with Thalweg's extension for
//! SmartModules) to the SPUs, and need no SC once they know one SPU. Admin calls go to the SC over
//! gRPC. What is retryable is retried; what comes out as an error says what to do, in words and as
//! an [`ErrorCode`].
//!
//! Needs a tokio runtime with time and I/O. Tasks that it starts end with the handle that started
//! them.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admin;
mod client;
mod cluster_calls;
mod consumer;
mod data;
mod failure_report;
mod group;
mod leader_calls;
mod module_bytes;
mod producer;
mod smartmodule;

pub use admin::{
    Admin, AdminError, Cluster, Election, ElectionOutcome, FailedReplica, GroupDescription,
    GroupEpochs, GroupListing, GroupMember, GroupOffset, HeldPartition, NewSmartModule, NewTopic,
    NewTransform, PlannedMove, RebalancePlan, RegisteredSmartModule, ReplicaMoved,
    SmartModuleDescription, SmartModuleUse, SmartModuleUser, SpuDrain, TopicDescription,
    TopicUpdate, TransformDescription, TransformListing, TransformPartition, TransformUpdate,
    Watch, WatchEvent,
};
pub use client::{Client, ClientOptions, ConnectError};
pub use consumer::{
    Accumulators, Checkpoint, ConsumeError, Consumer, ConsumerBatch, ConsumerEvent,
    ConsumerOptions, ConsumerRecord, EndOffset, InvalidCheckpoint, Isolation, OnOutOfRange,
    PartitionSelection, StartOffset,
};
pub use data::{Connection, ConnectionOptions, RequestError};
pub use failure_report::FailureReport;
pub use group::{CommitMode, GroupOptions};
pub use module_bytes::ModuleBytesError;
pub use producer::{
    Acks, Delivery, DeliveryFuture, InvalidAcks, Partitioner, ProduceError, Producer,
    ProducerOptions, ProducerRecord, partition_for_key,
};
pub use smartmodule::{SmartModuleInvocation, SmartModuleSource};
pub use thalweg_record::{
    Codec, Header as RecordHeader, Headers as RecordHeaders, Record as RecordView,
};
pub use thalweg_runtime::net::tls::{TlsClientOptions, TlsError, TlsIdentity};
pub use thalweg_types::{ErrorCode, LookBack, OnError, resource};
pub use thalweg_wire::FailedRecords;
