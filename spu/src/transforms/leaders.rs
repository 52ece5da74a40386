//! The way to the outputs' leaders: what a leader knows of a runner's producer, appends to its log, and reads back.
//!
//! Shared by all runners of this SPU: a few connections to each SPU. Answers come in the order of the requests, so
//! a partition whose followers are slow holds up those that share its connection, and no others. What this SPU
//! leads itself is appended without a request, where the log keeps batches as they are.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use thalweg_client::{Connection, ConnectionOptions, RequestError};
use thalweg_runtime::{Backoff, BackoffOptions, TaskGroup, blocking};
use thalweg_types::{Offset, ProducerEpoch, ProducerId, TopicPartition, TransformProgress};
use thalweg_wire::messages::describe_producers_request::TopicRequest;
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use thalweg_wire::messages::{
    self, BrokerId, DescribeProducersRequest, FetchRequest, ProduceRequest,
};
use thalweg_wire::tags::{self, OutputTag};
use thalweg_wire::{KafkaError, StrBytes, kafka_error};
use tracing::debug;

use crate::context::SpuContext;
use crate::data::LocalOutput;
use crate::replica::Acks;

/// How long connecting to a leader may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a leader may take to have a batch acknowledged by every in-sync replica.
const PRODUCE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long its answer may take beyond that.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How much of a log is read at a time, in bytes: more where its first batch is larger.
const READ_BYTES: i32 = 4 << 20;
/// How long a leader waits for more to read, in milliseconds.
const READ_WAIT_MS: i32 = 200;
/// How many connections there are to each leader.
const CONNECTIONS: usize = 8;
/// How many there are besides for questions that a leader may take its time to answer.
const FOLLOWING: usize = 32;
/// And one for what is written to internal topics, which go by who writes.
const INTERNAL_LANE: usize = CONNECTIONS + FOLLOWING;
/// The waits between attempts.
const RETRY: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(10),
    max: Duration::from_millis(500),
};

/// What an output's leader knows of a runner's producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KnownRunner {
    pub(super) producer_epoch: ProducerEpoch,
    pub(super) last_sequence: i32,
    /// Absent where it has none that is known: its marker is not in the log any more.
    pub(super) progress: Option<TransformProgress>,
}

/// A batch that is in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    /// Where it stands; negative where it was there already.
    pub(super) offset: Offset,
    /// Where the log begins.
    pub(super) log_start: Offset,
}

/// What was read of a log.
#[derive(Debug)]
pub(super) struct ReadBatches {
    /// Where it was read from.
    pub(super) from: Offset,
    /// Whole batches; the first may begin before.
    pub(super) records: Bytes,
    /// Up to where the log is committed.
    pub(super) high_watermark: Offset,
}

/// Why a leader was not reached, or refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LeaderError {
    /// It may work in a moment, or have worked.
    #[error("`{partition}` can't be written now: {reason}")]
    NotNow {
        partition: TopicPartition,
        reason: String,
    },
    /// Somebody else writes as this producer, or has.
    #[error("another runner goes on in `{partition}`")]
    Fenced { partition: TopicPartition },
    /// It would be refused again.
    #[error("`{partition}` refuses what the transform writes: {reason}")]
    Refused {
        partition: TopicPartition,
        reason: String,
    },
}

/// The way to the outputs' leaders.
pub(super) struct Leaders {
    context: SpuContext,
    connections: Mutex<HashMap<SlotKey, Slot>>,
    /// Own the connections' readers.
    tasks: TaskGroup,
}

/// The address, the number, and the name that this side goes by where it is another one than usual.
type SlotKey = (String, usize, Option<Arc<str>>);

/// Locked while a connection is made, so that many runners wait for one attempt.
type Slot = Arc<tokio::sync::Mutex<Option<Arc<Connection>>>>;

impl Leaders {
    pub(super) fn new(context: SpuContext, tasks: TaskGroup) -> Self {
        Self {
            context,
            connections: Mutex::default(),
            tasks,
        }
    }

    /// Asks who leads until somebody says what it knows of a producer; `None` where that is nothing.
    /// `told` hears why not yet.
    pub(super) async fn known(
        &self,
        partition: &TopicPartition,
        producer: ProducerId,
        told: impl Fn(&LeaderError),
    ) -> Result<Option<KnownRunner>, LeaderError> {
        self.until_answered(told, || self.ask_known(partition, producer))
            .await
    }

    /// Appends a batch, and returns once every in-sync replica has it; tries for as long as that may come.
    /// Only for batches that may be sent twice.
    pub(super) async fn append(
        &self,
        partition: &TopicPartition,
        batch: &Bytes,
        output: OutputTag,
        told: impl Fn(&LeaderError),
    ) -> Result<Written, LeaderError> {
        self.until_answered(told, || self.append_once(partition, batch.clone(), output))
            .await
    }

    async fn until_answered<T, F>(
        &self,
        told: impl Fn(&LeaderError),
        attempt: impl Fn() -> F,
    ) -> Result<T, LeaderError>
    where
        F: Future<Output = Result<T, LeaderError>>,
    {
        let mut backoff = Backoff::new(RETRY);
        loop {
            match attempt().await {
                Err(error @ LeaderError::NotNow { .. }) => {
                    debug!(%error, "trying again");
                    told(&error);
                    tokio::time::sleep(backoff.next_delay()).await;
                }
                answered => return answered,
            }
        }
    }

    async fn ask_known(
        &self,
        partition: &TopicPartition,
        producer: ProducerId,
    ) -> Result<Option<KnownRunner>, LeaderError> {
        let mut topic = TopicRequest::default()
            .with_name(topic_name(partition))
            .with_partition_indexes(vec![partition.partition.0]);
        tags::set_producer(&mut topic.unknown_tagged_fields, producer);
        let request = DescribeProducersRequest::default().with_topics(vec![topic]);
        let connection = self.leader(partition).await?;
        let answer = connection.call(&request, ANSWER_TIMEOUT).await;
        let answer = answer.map_err(|error| not_now(partition, &error))?;
        let mut partitions = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let Some(found) = partitions.next() else {
            return Err(not_now(partition, &"its leader answered nothing"));
        };
        if let Some(error) = kafka_error(found.error_code) {
            return Err(refused(partition, error, found.error_message));
        }
        let mut states = found.active_producers.into_iter();
        let state = states.find(|state| state.producer_id.0 == producer.0);
        Ok(state.map(|state| KnownRunner {
            producer_epoch: ProducerEpoch(i16::try_from(state.producer_epoch).unwrap_or(i16::MAX)),
            last_sequence: state.last_sequence,
            progress: tags::progress(&state.unknown_tagged_fields),
        }))
    }

    /// Some batches from `from` on, or from where the log begins if that is later; none where nothing comes for a while.
    /// What this SPU leads is read without a request where there is something; otherwise it takes a connection that no
    /// append waits for.
    pub(super) async fn read(
        &self,
        partition: &TopicPartition,
        from: Offset,
        told: impl Fn(&LeaderError),
    ) -> Result<ReadBatches, LeaderError> {
        if let Some(read) = self.read_here(partition, from).await {
            return Ok(read);
        }
        self.until_answered(told, || {
            let connection = self.leader_in(partition, CONNECTIONS..CONNECTIONS + FOLLOWING);
            read_once(connection, partition, from)
        })
        .await
    }

    /// As [`Self::read`], of what this SPU leads; `None` where there is nothing, or it can't be read: a request says why.
    async fn read_here(&self, partition: &TopicPartition, from: Offset) -> Option<ReadBatches> {
        let replicas = &self.context.replicas;
        let replica = replicas.leader(&partition.topic, partition.partition, None);
        let replica = replica.ok()?;
        let high_watermark = replica.known_high_watermark()?;
        if from >= high_watermark {
            return None;
        }
        let log = Arc::clone(replica.log());
        let reading = blocking(move || {
            let slice = log.read(from, READ_BYTES.unsigned_abs(), high_watermark);
            slice.ok()?.read_bytes().ok()
        });
        let records = reading.await.ok()?.filter(|records| !records.is_empty())?;
        Some(ReadBatches {
            from,
            records,
            high_watermark,
        })
    }

    /// Appends a batch to an internal topic, which takes them from the cluster's own programs alone; tries for as long
    /// as that may come. It may be there more than once then.
    pub(super) async fn append_internal(
        &self,
        partition: &TopicPartition,
        batch: Bytes,
        acks: Acks,
    ) -> Result<(), LeaderError> {
        let told = |_: &LeaderError| {};
        let attempt = || self.append_internal_once(partition, batch.clone(), acks);
        self.until_answered(told, attempt).await
    }

    async fn append_internal_once(
        &self,
        partition: &TopicPartition,
        batch: Bytes,
        acks: Acks,
    ) -> Result<(), LeaderError> {
        let replicas = &self.context.replicas;
        if let Ok(replica) = replicas.leader(&partition.topic, partition.partition, None) {
            let appended = replica.append(batch, None, acks, PRODUCE_TIMEOUT);
            let appended = appended.await;
            return appended
                .map(|_| ())
                .map_err(|error| not_now(partition, &error));
        }
        let data = PartitionProduceData::default()
            .with_index(partition.partition.0)
            .with_records(Some(batch));
        // Known by the name that the controller gave to those who may.
        let lanes = INTERNAL_LANE..INTERNAL_LANE + 1;
        let connection = self.leader_in(partition, lanes).await?;
        let acks = if acks == Acks::All { -1 } else { 1 };
        let request = produce_request(partition, data, acks);
        let answer = connection.call(&request, ANSWER_TIMEOUT).await;
        let answer = answer.map_err(|error| not_now(partition, &error))?;
        let topics = answer.responses.into_iter();
        let mut partitions = topics.flat_map(|topic| topic.partition_responses);
        let found = partitions.next().map(|found| kafka_error(found.error_code));
        match found {
            Some(None) => Ok(()),
            // The controller is another one by now, most likely, and so is the name.
            Some(Some(error)) => Err(not_now(partition, &format!("{error:?}"))),
            None => Err(not_now(partition, &"its leader answered nothing")),
        }
    }

    /// As [`Self::append`], in one attempt: after an error the batch may be there or not. Gives where it stands.
    pub(super) async fn append_once(
        &self,
        partition: &TopicPartition,
        batch: Bytes,
        output: OutputTag,
    ) -> Result<Written, LeaderError> {
        let (replicas, view) = (&self.context.replicas, self.context.view.current());
        if let Some(local) = LocalOutput::of(replicas, &view, partition, &batch, output) {
            let appended = local.append(PRODUCE_TIMEOUT).await;
            let (appended, log_start) = appended.map_err(|(error, message)| {
                refused(partition, error, Some(StrBytes::from_string(message)))
            })?;
            return Ok(Written {
                offset: appended.base_offset,
                log_start,
            });
        }
        let mut data = PartitionProduceData::default()
            .with_index(partition.partition.0)
            .with_records(Some(batch));
        tags::set_output(&mut data.unknown_tagged_fields, output);
        let request = produce_request(partition, data, -1);
        let connection = self.leader(partition).await?;
        let answer = connection.call(&request, ANSWER_TIMEOUT).await;
        let answer = answer.map_err(|error| not_now(partition, &error))?;
        let mut partitions = answer
            .responses
            .into_iter()
            .flat_map(|topic| topic.partition_responses);
        let Some(found) = partitions.next() else {
            return Err(not_now(partition, &"its leader answered nothing"));
        };
        match kafka_error(found.error_code) {
            None => Ok(Written {
                offset: Offset(found.base_offset),
                log_start: Offset(found.log_start_offset),
            }),
            Some(error) => Err(refused(partition, error, found.error_message)),
        }
    }

    /// A connection to whoever leads a partition.
    async fn leader(&self, partition: &TopicPartition) -> Result<Arc<Connection>, LeaderError> {
        self.leader_in(partition, 0..CONNECTIONS).await
    }

    /// One of those with these numbers.
    async fn leader_in(
        &self,
        partition: &TopicPartition,
        lanes: Range<usize>,
    ) -> Result<Arc<Connection>, LeaderError> {
        let view = self.context.view.current();
        let Some(known) = view.partition(&partition.topic, partition.partition) else {
            return Err(not_now(
                partition,
                &format!(
                    "there is no such partition; `thalweg topic describe {}` shows what there is",
                    partition.topic
                ),
            ));
        };
        let Some(spu) = known.leader.and_then(|leader| view.spus.get(&leader)) else {
            return Err(not_now(partition, &"no SPU leads it"));
        };
        let address = format!("{}:{}", spu.host, spu.port);
        // Always the same one for a partition, so that its requests keep their order.
        let mut hasher = DefaultHasher::new();
        partition.hash(&mut hasher);
        let lane = lanes.start + hasher.finish() as usize % lanes.len();
        let connection = self.connection(address, lane).await;
        connection.map_err(|error| not_now(partition, &error))
    }

    async fn connection(
        &self,
        address: String,
        lane: usize,
    ) -> Result<Arc<Connection>, RequestError> {
        let view = self.context.view.current();
        let internal = view.internal_client_id.clone();
        let internal = internal.filter(|_| lane == INTERNAL_LANE);
        let slot = {
            let connections = self.connections.lock();
            let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
            let key = (address.clone(), lane, internal.clone());
            Arc::clone(connections.entry(key).or_default())
        };
        let mut connection = slot.lock().await;
        if let Some(connection) = connection.as_ref().filter(|known| known.is_alive()) {
            return Ok(Arc::clone(connection));
        }
        let client_id = internal.map_or_else(
            || format!("thalweg-spu-{}-transforms", self.context.spu_id),
            |internal| internal.to_string(),
        );
        let options = ConnectionOptions::new(client_id, CONNECT_TIMEOUT, ANSWER_TIMEOUT)
            .under_tls(self.context.peers_tls.clone());
        let opened = Connection::open(&address, &options, &self.tasks).await?;
        *connection = Some(Arc::clone(&opened));
        Ok(opened)
    }
}

fn produce_request(
    partition: &TopicPartition,
    data: PartitionProduceData,
    acks: i16,
) -> ProduceRequest {
    let timeout_ms = i32::try_from(PRODUCE_TIMEOUT.as_millis()).expect("ten seconds");
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(timeout_ms)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(topic_name(partition))
                .with_partition_data(vec![data]),
        ])
}

async fn read_once(
    connection: impl Future<Output = Result<Arc<Connection>, LeaderError>>,
    partition: &TopicPartition,
    from: Offset,
) -> Result<ReadBatches, LeaderError> {
    let asked = FetchPartition::default()
        .with_partition(partition.partition.0)
        .with_fetch_offset(from.0)
        .with_partition_max_bytes(READ_BYTES);
    let topic = FetchTopic::default()
        .with_topic(topic_name(partition))
        .with_partitions(vec![asked]);
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(READ_WAIT_MS)
        .with_min_bytes(1)
        .with_max_bytes(READ_BYTES)
        // Outside of any fetch session.
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let answer = connection.await?.call(&request, ANSWER_TIMEOUT).await;
    let answer = answer.map_err(|error| not_now(partition, &error))?;
    let partitions = answer.responses.into_iter();
    let mut partitions = partitions.flat_map(|topic| topic.partitions);
    let Some(found) = partitions.next() else {
        return Err(not_now(partition, &"its leader answered nothing"));
    };
    let high_watermark = Offset(found.high_watermark);
    match kafka_error(found.error_code) {
        None => Ok(ReadBatches {
            from,
            records: found.records.unwrap_or_default(),
            high_watermark,
        }),
        Some(KafkaError::OffsetOutOfRange) if found.log_start_offset > from.0 => Ok(ReadBatches {
            from: Offset(found.log_start_offset),
            records: Bytes::new(),
            high_watermark: Offset(i64::MAX),
        }),
        Some(error) => Err(refused(partition, error, None)),
    }
}

fn topic_name(partition: &TopicPartition) -> messages::TopicName {
    StrBytes::from_string(partition.topic.to_string()).into()
}

fn not_now(partition: &TopicPartition, reason: &dyn std::fmt::Display) -> LeaderError {
    LeaderError::NotNow {
        partition: partition.clone(),
        reason: reason.to_string(),
    }
}

/// What a leader's refusal means.
fn refused(
    partition: &TopicPartition,
    error: KafkaError,
    message: Option<StrBytes>,
) -> LeaderError {
    let reason = message.map_or_else(|| format!("{error:?}"), |message| message.to_string());
    let partition = partition.clone();
    match error {
        KafkaError::InvalidProducerEpoch
        | KafkaError::ProducerFenced
        | KafkaError::OutOfOrderSequenceNumber
        | KafkaError::DuplicateSequenceNumber => LeaderError::Fenced { partition },
        KafkaError::MessageTooLarge
        | KafkaError::InvalidRecord
        | KafkaError::InvalidTimestamp
        | KafkaError::InvalidTopicException
        | KafkaError::CorruptMessage
        | KafkaError::UnsupportedForMessageFormat => LeaderError::Refused { partition, reason },
        _ => LeaderError::NotNow { partition, reason },
    }
}
