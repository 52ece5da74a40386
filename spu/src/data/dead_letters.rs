//! Records that a SmartModule failed on, on their way to a topic of their own.
//!
//! A stream's answer, and a produced batch, wait until their dead letters are acknowledged by every
//! in-sync replica. They travel as any producer's records do: by a client of this SPU's own, to
//! whoever leads the topic's partitions, idempotent. Its memory is bounded: when it is full, the
//! streams wait.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_client::{
    Acks, Client, ClientOptions, ErrorCode, ProduceError, Producer, ProducerOptions,
    ProducerRecord, RecordHeader, RequestError, TlsClientOptions,
};
use thalweg_smartengine::OriginalRecord;
use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::SMALL_FRAME_BYTES;
use tokio::sync::Mutex;

use crate::cluster_view::{ClusterView, SpuView};

/// How long a dead letter may take to be acknowledged: well below what a client waits for its
/// answer.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(8);
/// How many bytes of dead letters of one topic may wait for their acknowledgement.
const MEMORY_BYTES: usize = 16 << 20;
/// How large a batch of them becomes: one alone may be as large as its topic allows. Small enough
/// for its request to be one that needs none of the memory that all connections share, since
/// whoever waits for dead letters may hold the last of it.
const BATCH_BYTES: usize = SMALL_FRAME_BYTES / 2;
/// How many topics have a producer at a time.
const PRODUCERS_MAX: usize = 64;
/// How much of what a module said goes into the header.
const ERROR_BYTES_MAX: usize = 1024;

/// The way to the dead-letter topics.
pub(super) struct DeadLetters {
    /// Where this SPU itself answers.
    address: SocketAddr,
    view: Arc<ClusterView>,
    tls: Option<TlsClientOptions>,
    client: Mutex<Option<Client>>,
    producers: Mutex<HashMap<TopicName, Producer>>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeadLetter {
    pub(super) record: OriginalRecord,
    pub(super) origin: Origin,
    /// The module's name.
    pub(super) module: String,
    /// The module's version, or the hash of its bytes.
    pub(super) version: String,
    /// What it said.
    pub(super) error: String,
}

/// Where a record came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) topic: TopicName,
    pub(super) partition: PartitionIndex,
    /// Absent before the record is in the log.
    pub(super) offset: Option<Offset>,
}

/// Why dead letters are not where they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Undelivered {
    /// It may work later.
    #[error("dead letters can't be written to topic `{topic}` now: {reason}")]
    NotNow { topic: TopicName, reason: String },
    /// It won't.
    #[error("a dead letter can't be written to topic `{topic}`: {reason}")]
    Never { topic: TopicName, reason: String },
}

impl DeadLetters {
    /// `address` is where this SPU listens.
    pub(super) fn new(
        address: SocketAddr,
        view: Arc<ClusterView>,
        tls: Option<TlsClientOptions>,
    ) -> Self {
        Self {
            address,
            view,
            tls,
            client: Mutex::default(),
            producers: Mutex::default(),
        }
    }

    /// Writes `letters` to `topic`, and returns once all of them are acknowledged.
    pub(super) async fn deliver(
        &self,
        topic: &TopicName,
        letters: Vec<DeadLetter>,
    ) -> Result<(), Undelivered> {
        let delivered = match self.producer(topic).await {
            Ok(producer) => send_all(&producer, letters).await,
            Err(error) => Err(error),
        };
        let Err(error) = delivered else {
            return Ok(());
        };
        // One that failed may hold batches whose outcome nobody knows. The next starts afresh.
        self.producers.lock().await.remove(topic);
        let (topic, reason) = (topic.clone(), error.to_string());
        Err(if is_final(&error) {
            Undelivered::Never { topic, reason }
        } else {
            Undelivered::NotNow { topic, reason }
        })
    }

    async fn producer(&self, topic: &TopicName) -> Result<Producer, ProduceError> {
        let client = self.client().await?;
        let mut producers = self.producers.lock().await;
        if let Some(producer) = producers.get(topic) {
            return Ok(producer.clone());
        }
        let options = ProducerOptions {
            acks: Acks::All,
            idempotent: true,
            batch_bytes: BATCH_BYTES,
            memory_bytes: MEMORY_BYTES,
            request_timeout: DELIVERY_TIMEOUT,
            delivery_timeout: DELIVERY_TIMEOUT,
            ..ProducerOptions::default()
        };
        let opened = tokio::time::timeout(DELIVERY_TIMEOUT, client.producer(topic, options)).await;
        let producer = opened.map_err(|_| ProduceError::DeliveryTimeout {
            partition: thalweg_types::TopicPartition {
                topic: topic.clone(),
                partition: PartitionIndex(0),
            },
            after: DELIVERY_TIMEOUT,
            outcome_unknown: false,
            last_failure: "no SPU said who leads it".to_owned(),
        })??;
        if producers.len() >= PRODUCERS_MAX {
            // Whoever uses one still holds it; it is only not found again.
            producers.clear();
        }
        producers.insert(topic.clone(), producer.clone());
        Ok(producer)
    }

    async fn client(&self) -> Result<Client, ProduceError> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        // Its certificate may be for the address that others know it by alone.
        let view = self.view.current();
        let address_of = |spu: &SpuView| format!("{}:{}", spu.host, spu.port);
        let known = view.online_spus().map(address_of);
        let options = ClientOptions {
            bootstrap: std::iter::once(self.address.to_string())
                .chain(known)
                .collect(),
            tls: self.tls.clone(),
            client_id: "thalweg-spu-dead-letters".to_owned(),
            request_timeout: DELIVERY_TIMEOUT,
            ..ClientOptions::default()
        };
        // It asks nobody when it is made, but certificates may be of no use by now.
        let connected = Client::connect(options).await;
        let connected = connected.map_err(|error| RequestError::NoSpuReachable {
            last_failure: error.to_string(),
        })?;
        Ok(client.insert(connected).clone())
    }
}

async fn send_all(producer: &Producer, letters: Vec<DeadLetter>) -> Result<(), ProduceError> {
    let mut deliveries = Vec::with_capacity(letters.len());
    for letter in &letters {
        deliveries.push(letter.send(producer).await?);
    }
    for delivery in deliveries {
        delivery.await?;
    }
    Ok(())
}

/// Whether the same dead letter would fail again.
fn is_final(error: &ProduceError) -> bool {
    matches!(
        error.code(),
        ErrorCode::InvalidRequest | ErrorCode::NotFound
    ) && !matches!(error, ProduceError::Closed)
}

impl DeadLetter {
    async fn send(
        &self,
        producer: &Producer,
    ) -> Result<thalweg_client::DeliveryFuture, ProduceError> {
        let partition = self.origin.partition.to_string();
        let offset = self.origin.offset.map(|offset| offset.to_string());
        let error = shortened(&self.error, ERROR_BYTES_MAX);
        let mut headers: Vec<_> = self
            .record
            .headers
            .iter()
            .map(|(key, value)| RecordHeader {
                key,
                value: value.as_deref(),
            })
            .collect();
        for (name, value) in [
            ("thalweg.source.topic", Some(self.origin.topic.as_str())),
            ("thalweg.source.partition", Some(partition.as_str())),
            ("thalweg.source.offset", offset.as_deref()),
            ("thalweg.module", Some(self.module.as_str())),
            ("thalweg.version", Some(self.version.as_str())),
            ("thalweg.error", Some(error)),
        ] {
            headers.extend(value.map(|value| RecordHeader::new(name, value.as_bytes())));
        }
        let record = ProducerRecord {
            key: self.record.key.as_deref(),
            value: self.record.value.as_deref(),
            headers: &headers,
            timestamp_ms: Some(self.record.timestamp_ms),
            partition: None,
        };
        producer.send(record).await
    }
}

/// The beginning of a text, cut between characters.
fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_error_is_cut_between_characters() {
        assert_eq!(shortened("no such column", 100), "no such column");
        assert_eq!(shortened("naïve", 3), "na");
        assert_eq!(shortened("naïve", 4), "naï");
    }

    #[test]
    fn what_would_fail_again_is_told_from_what_may_work_later() {
        let too_large = ProduceError::RecordTooLarge {
            topic: "failed".parse().unwrap(),
            size_bytes: 2,
            limit_bytes: 1,
        };
        let gone = ProduceError::UnknownTopic {
            topic: "failed".parse().unwrap(),
        };
        let nobody = RequestError::NoSpuReachable {
            last_failure: "refused".to_owned(),
        };

        assert!(is_final(&too_large) && is_final(&gone));
        assert!(!is_final(&nobody.into()) && !is_final(&ProduceError::Closed));
    }
}
