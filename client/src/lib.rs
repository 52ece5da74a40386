//! Thalweg's client: producer, consumer and admin.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod admin;
mod client;
mod cluster_calls;
mod consumer;
mod data;
mod leader_calls;
mod producer;
mod smartmodule;

pub use admin::{
    Admin, AdminError, Cluster, NewTopic, TopicDescription, TopicUpdate, Watch, WatchEvent,
};
pub use client::{Client, ClientOptions, ConnectError};
pub use consumer::{
    ConsumeError, Consumer, ConsumerBatch, ConsumerOptions, ConsumerRecord, EndOffset, Isolation,
    OnOutOfRange, PartitionSelection, StartOffset,
};
pub use data::RequestError;
pub use producer::{
    Acks, Delivery, DeliveryFuture, InvalidAcks, Partitioner, ProduceError, Producer,
    ProducerOptions, ProducerRecord, partition_for_key,
};
pub use smartmodule::{SmartModuleInvocation, SmartModuleSource};
pub use thalweg_record::{
    Codec, Header as RecordHeader, Headers as RecordHeaders, Record as RecordView,
};
pub use thalweg_types::resource;
