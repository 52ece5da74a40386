//! The topic that a measurement uses: the user's, or one made for it and deleted afterwards.

use thalweg_client::resource::ReplicaPlacement;
use thalweg_client::{Admin, Client, NewTopic, Producer, ProducerOptions, ProducerRecord};
use thalweg_types::{ChainSpec, TopicConfig, TopicName, parse_bytes};

use crate::commands::topic::wait_until_online;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::error::CliError;

/// Which topic to measure with.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct TopicArguments {
    /// Use this topic. Default: one is made for the measurement and deleted afterwards.
    #[arg(long, value_name = "NAME")]
    topic: Option<TopicName>,

    /// How many partitions the topic made for the measurement has.
    #[arg(long, short, value_name = "N", default_value_t = 1, conflicts_with = "topic", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// How many replicas each of them has.
    #[arg(visible_alias = "replication-factor", long, short, value_name = "N", default_value_t = 1, conflicts_with = "topic", value_parser = clap::value_parser!(i32).range(1..))]
    replication: i32,

    /// A setting of the topic made for the measurement, for example durability=memory; may be
    /// repeated.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "topic", value_parser = parse_key_value)]
    config: Vec<KeyValue>,
}

/// How many records of which size.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(super) struct LoadArguments {
    /// How many records.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) records: u64,

    /// The size of a record's value.
    #[arg(long, value_name = "SIZE", default_value = "1KiB", value_parser = parse_record_bytes)]
    pub(super) record_size: usize,
}

/// The topic in use.
#[derive(Debug)]
pub(super) struct BenchTopic {
    /// Its name.
    pub(super) name: TopicName,
    admin: Admin,
    is_ours: bool,
}

impl TopicArguments {
    /// Whether the topic is the user's, with the user's records in it.
    pub(super) fn is_given(&self) -> bool {
        self.topic.is_some()
    }

    /// Finds or makes the topic.
    pub(super) async fn open(
        &self,
        client: &Client,
        context: &Context,
    ) -> Result<BenchTopic, CliError> {
        let admin = client.admin();
        if let Some(name) = &self.topic {
            return Ok(BenchTopic {
                name: name.clone(),
                admin,
                is_ours: false,
            });
        }
        let mut config = TopicConfig::default();
        for (key, value) in &self.config {
            config.set(key, value)?;
        }
        let unique = format!("bench-{}-{}", std::process::id(), context.clock().now_ms());
        let name: TopicName = unique.parse()?;
        let topic = NewTopic {
            name: name.clone(),
            placement: ReplicaPlacement::Computed {
                partitions: self.partitions,
                replication_factor: self.replication,
            },
            config,
            produce_chain: ChainSpec::default(),
            validate_only: false,
        };
        admin.create_topic(topic).await?;
        wait_until_online(&admin, &name).await?;
        Ok(BenchTopic {
            name,
            admin,
            is_ours: true,
        })
    }
}

impl BenchTopic {
    /// Deletes the topic if it was made for the measurement, whatever that ended with.
    pub(super) async fn close<T>(self, outcome: Result<T, CliError>) -> Result<T, CliError> {
        if self.is_ours {
            let deleted = self.admin.delete_topic(&self.name).await;
            // A failure of the measurement says more than one of the cleaning up.
            let measured = outcome?;
            deleted?;
            return Ok(measured);
        }
        outcome
    }
}

impl LoadArguments {
    /// Produces the records and waits until all are acknowledged.
    pub(super) async fn produce(
        &self,
        client: &Client,
        topic: &TopicName,
        options: ProducerOptions,
    ) -> Result<Producer, CliError> {
        let producer = client.producer(topic, options).await?;
        let value = payload(self.record_size);
        for _ in 0..self.records {
            producer.enqueue(ProducerRecord::new(&value)).await?;
        }
        producer.flush().await?;
        Ok(producer)
    }

    /// How many bytes all values have.
    pub(super) fn total_bytes(&self) -> u64 {
        self.records.saturating_mul(self.record_size as u64)
    }
}

/// Bytes that don't compress to nothing, and are the same in every run.
fn payload(size_bytes: usize) -> Vec<u8> {
    // A linear congruential generator (Knuth's constants); its upper bits are good enough here.
    let mut state = 42_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        b'a' + u8::try_from((state >> 33) % 26).expect("less than 26")
    })
    .take(size_bytes)
    .collect()
}

pub(super) fn parse_record_bytes(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text).map_err(|error| error.to_string())?;
    usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= 64 << 20)
        .ok_or_else(|| "it must be at most 64MiB".to_owned())
}
