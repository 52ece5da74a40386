//! The internal topic `__smartmodules`: made when first needed, written over the data protocol.
//!
//! One partition, compacted, with as many replicas as the cluster allows, up to three. SPUs take
//! records for it from the client id alone that this SC told them in this reign, so an SC that has
//! been replaced writes nothing more.

use std::sync::Arc;
use std::time::Duration;

use thalweg_client::{
    Client, ClientOptions, ConnectError, ProducerOptions, ProducerRecord, TlsClientOptions,
};
use thalweg_proto::ServiceError;
use thalweg_runtime::{Backoff, BackoffOptions, Clock};
use thalweg_smartmodule_inspect::MODULE_BYTES_MAX;
use thalweg_types::{
    ConfigKey, ErrorCode, ModuleRef, Offset, PartitionIndex, SMARTMODULES_TOPIC, TopicName,
    TopicPartition,
};
use tracing::debug;

use crate::state::{ChangeError, Controller, InternalTopic, Observed};

/// The most replicas that the topic gets.
const REPLICAS_MAX: usize = 3;
/// The largest batch that the topic takes: one module, its key, and what a batch adds.
const BATCH_BYTES_MAX: usize = MODULE_BYTES_MAX + (64 << 10);
/// How long a record is tried for: a new topic comes online and SPUs hear of the SC's reign.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one attempt may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why bytes were not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BytesError {
    #[error(
        "no SPU is online that could keep the SmartModule; `thalweg spu list` shows them, try again once one is up"
    )]
    NoSpu,
    #[error(
        "the topic `{SMARTMODULES_TOPIC}`, which keeps the SmartModules, can't be written now: {reason}; try again once it can"
    )]
    Unavailable { reason: String },
    #[error(transparent)]
    Change(#[from] ChangeError),
}

impl ServiceError for BytesError {
    fn code(&self) -> ErrorCode {
        match self {
            // Also where an attempt may have been stored: a repetition does no harm.
            Self::NoSpu | Self::Unavailable { .. } => ErrorCode::Unavailable,
            Self::Change(error) => error.code(),
        }
    }
}

/// Writes the topic's records.
#[derive(Debug)]
pub(crate) struct BytesTopic {
    controller: Arc<Controller>,
    clock: Arc<dyn Clock>,
    client_id: String,
    tls: Option<TlsClientOptions>,
}

impl BytesTopic {
    pub(super) fn new(
        controller: Arc<Controller>,
        clock: Arc<dyn Clock>,
        client_id: String,
        tls: Option<TlsClientOptions>,
    ) -> Self {
        Self {
            controller,
            clock,
            client_id,
            tls,
        }
    }

    /// Writes `bytes` under the version's name, or a tombstone, and returns where they are once
    /// every in-sync replica has them.
    pub(crate) async fn write(
        &self,
        version: &ModuleRef,
        bytes: Option<&[u8]>,
    ) -> Result<Offset, BytesError> {
        let topic = TopicName::new(SMARTMODULES_TOPIC).expect("the name keeps Kafka's rules");
        let began = self.clock.monotonic();
        let mut backoff = Backoff::new(BackoffOptions {
            initial: Duration::from_millis(20),
            max: Duration::from_millis(500),
        });
        loop {
            let spus = self.ensure_topic(&topic).await?;
            let reason = match self.try_write(&topic, spus, version, bytes).await {
                Ok(Some(offset)) => return Ok(offset),
                // It was there from an attempt whose answer got lost.
                Ok(None) => "it was stored and nobody says where".to_owned(),
                Err(reason) => reason,
            };
            if self.clock.monotonic().saturating_sub(began) >= PATIENCE {
                return Err(BytesError::Unavailable { reason });
            }
            debug!(%version, reason, attempt = backoff.attempt(), "the bytes are not written yet");
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    async fn try_write(
        &self,
        topic: &TopicName,
        spus: Vec<String>,
        version: &ModuleRef,
        bytes: Option<&[u8]>,
    ) -> Result<Option<Offset>, String> {
        let client = Client::connect(ClientOptions {
            bootstrap: spus,
            client_id: self.client_id.clone(),
            tls: self.tls.clone(),
            ..ClientOptions::default()
        })
        .await
        .map_err(|error: ConnectError| error.to_string())?;
        let options = ProducerOptions {
            batch_bytes: BATCH_BYTES_MAX,
            delivery_timeout: ATTEMPT_TIMEOUT,
            ..ProducerOptions::default()
        };
        let producer = client.producer(topic, options).await;
        let producer = producer.map_err(|error| error.to_string())?;
        let key = version.to_string();
        let record = ProducerRecord {
            key: Some(key.as_bytes()),
            value: bytes,
            partition: Some(PartitionIndex(0)),
            ..ProducerRecord::default()
        };
        let sent = producer.send(record).await;
        let delivered = sent.map_err(|error| error.to_string())?.await;
        Ok(delivered.map_err(|error| error.to_string())?.offset)
    }

    /// Makes the topic where it is missing. Returns where the SPUs are that are up.
    async fn ensure_topic(&self, name: &TopicName) -> Result<Vec<String>, BytesError> {
        let changing = self.controller.change().await;
        let observed = changing.observe().await.map_err(ChangeError::from)?;
        let online: Vec<_> = observed
            .spus
            .values()
            .filter(|spu| spu.is_online())
            .map(|spu| spu.status.data_address.clone())
            .collect();
        if online.is_empty() {
            return Err(BytesError::NoSpu);
        }
        match observed.topics.get(name) {
            None => {
                let topic = topic_to_create(name, observed.candidates().len());
                changing.create_internal(topic).await?;
            }
            Some(_) => check_led(&observed, name)?,
        }
        Ok(online)
    }
}

fn topic_to_create(name: &TopicName, spus: usize) -> InternalTopic {
    InternalTopic {
        name: name.clone(),
        partitions: 1,
        replication_factor: spus.min(REPLICAS_MAX),
        settings: vec![
            (ConfigKey::CleanupPolicy, "compact".to_owned()),
            (ConfigKey::MaxMessageBytes, BATCH_BYTES_MAX.to_string()),
        ],
    }
}

/// A topic whose only replicas are down is not worth waiting for.
fn check_led(observed: &Observed, name: &TopicName) -> Result<(), BytesError> {
    let partition = TopicPartition {
        topic: name.clone(),
        partition: PartitionIndex(0),
    };
    match observed.partitions.get(&partition) {
        Some(partition) if partition.status.leader.is_none() => Err(BytesError::Unavailable {
            reason: partition.status.reason.clone(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topic_is_compacted_and_takes_the_largest_module() {
        let name = TopicName::new(SMARTMODULES_TOPIC).unwrap();
        let config = topic_to_create(&name, 3).config();

        assert_eq!(config.get(ConfigKey::CleanupPolicy), "compact");
        assert!(config.max_message_bytes() as usize > MODULE_BYTES_MAX);
    }
}
