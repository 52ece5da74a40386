//! One fetch: opens the stream if it is missing, asks one SPU for many partitions, and waits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{LeaderEpoch, Offset, PartitionIndex, TopicName};
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::messages::{BrokerId, FetchRequest};
use thalweg_wire::{KeyedAccumulators, StrBytes, StreamPurpose, kafka_error, tags};

use super::progress::BoundStream;
use super::{Accumulators, ConsumerOptions};
use crate::data::{
    Connection, Connections, NewStream, OpenStreamError, RequestError, kafka_name, open_stream,
};

/// One partition of a fetch.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) partition: PartitionIndex,
    /// As the progress has it.
    pub(crate) turn: u64,
    pub(crate) position: Offset,
    pub(crate) leader_epoch: LeaderEpoch,
    /// The stream that stands at `position`, if one does.
    pub(crate) stands: Option<BoundStream>,
    /// What to go on with where none does.
    pub(crate) accumulators: Arc<Accumulators>,
    /// Where the consumer stops.
    pub(crate) end: Option<Offset>,
}

/// What a fetch came to.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The SPU that was asked.
    pub(crate) address: String,
    /// What was asked for, and in which turn.
    pub(crate) partitions: BTreeMap<PartitionIndex, u64>,
    /// The stream that was used.
    pub(crate) stream: Option<BoundStream>,
    pub(crate) outcome: Result<Vec<PartitionData>, FetchError>,
}

/// Why a fetch has no answer.
#[derive(Debug)]
pub(crate) enum FetchError {
    Request(RequestError),
    /// The SPU refused the SmartModules. Its words.
    Modules(String),
}

/// Asks the SPU at `address` for `targets`, through `stream` if it still is on the connection.
/// Resolves with records, or when `wait` is over.
pub(crate) async fn fetch(
    connections: Arc<Connections>,
    address: String,
    topic: TopicName,
    targets: Vec<Target>,
    mut stream: Option<BoundStream>,
    wait: Duration,
    options: Arc<ConsumerOptions>,
) -> Fetched {
    let outcome = async {
        let connection = connections.get(&address).await;
        let connection = connection.map_err(FetchError::Request)?;
        bind(&mut stream, &connection, &topic, &options).await?;
        ask(
            &connection,
            &topic,
            &targets,
            stream.as_ref(),
            wait,
            &options,
        )
        .await
        .map_err(FetchError::Request)
    };
    let outcome = outcome.await;
    Fetched {
        address,
        partitions: targets
            .iter()
            .map(|target| (target.partition, target.turn))
            .collect(),
        stream,
        outcome,
    }
}

/// Sees to it that the stream, if one is needed, is on `connection`.
async fn bind(
    stream: &mut Option<BoundStream>,
    connection: &Arc<Connection>,
    topic: &TopicName,
    options: &ConsumerOptions,
) -> Result<(), FetchError> {
    let is_bound = stream
        .as_ref()
        .is_some_and(|stream| Arc::ptr_eq(&stream.connection, connection));
    if options.smartmodules.is_empty() || is_bound {
        return Ok(());
    }
    let new = new_stream(topic, options);
    let opened = open_stream(connection, new, options.request_timeout);
    let id = opened.await.map_err(|error| match error {
        OpenStreamError::Refused(message) => FetchError::Modules(message),
        OpenStreamError::Request(error) => FetchError::Request(error),
    })?;
    *stream = Some(BoundStream {
        connection: Arc::clone(connection),
        id,
    });
    Ok(())
}

/// The stream of a consumer with `options`.
pub(crate) fn new_stream<'a>(topic: &'a TopicName, options: &'a ConsumerOptions) -> NewStream<'a> {
    NewStream {
        purpose: StreamPurpose::Consume,
        topic,
        modules: &options.smartmodules,
        accumulator: options.accumulator.as_ref(),
        is_by_key: options.accumulate_by_key,
    }
}

impl Target {
    fn to_wire(&self, stream: Option<&BoundStream>, options: &ConsumerOptions) -> FetchPartition {
        let mut partition = FetchPartition::default()
            .with_partition(self.partition.0)
            .with_current_leader_epoch(self.leader_epoch.0)
            .with_fetch_offset(self.position.0)
            .with_partition_max_bytes(wire_bytes(options.partition_bytes_max));
        if let Some(stream) = stream {
            let fields = &mut partition.unknown_tagged_fields;
            tags::set_stream_id(fields, stream.id);
            if let Some(end) = self.end {
                tags::set_stop_offset(fields, end);
            }
            let stands = self.stands.as_ref() == Some(stream);
            match &*self.accumulators {
                _ if stands => {}
                Accumulators::Partition(accumulator) => {
                    tags::set_accumulator(fields, accumulator.clone());
                }
                Accumulators::ByKey(by_key) => tags::set_keyed_accumulators(fields, by_key),
                // Said, so that the SPU does not take it for forgotten.
                Accumulators::None if options.accumulate_by_key => {
                    tags::set_keyed_accumulators(fields, &KeyedAccumulators::new());
                }
                Accumulators::None => {}
            }
        }
        partition
    }
}

async fn ask(
    connection: &Arc<Connection>,
    topic: &TopicName,
    targets: &[Target],
    stream: Option<&BoundStream>,
    wait: Duration,
    options: &ConsumerOptions,
) -> Result<Vec<PartitionData>, RequestError> {
    let partitions = targets.iter().map(|target| target.to_wire(stream, options));
    let topic = FetchTopic::default()
        .with_topic(StrBytes::from_string(topic.to_string()).into())
        .with_partitions(partitions.collect());
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wire_ms(wait))
        .with_min_bytes(wire_bytes(options.fetch_bytes_min))
        .with_max_bytes(wire_bytes(options.fetch_bytes_max))
        .with_isolation_level(options.isolation.wire_value())
        // Outside of any fetch session.
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic]);
    let answer_timeout = wait + options.request_timeout;
    let answer = connection.call(&request, answer_timeout).await?;
    if kafka_error(answer.error_code).is_some() {
        return Err(RequestError::Refused {
            address: connection.address().to_owned(),
            request: "Fetch",
            kafka_code: answer.error_code,
            name: kafka_name(answer.error_code),
        });
    }
    let topics = answer.responses.into_iter();
    Ok(topics.flat_map(|topic| topic.partitions).collect())
}

fn wire_bytes(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn wire_ms(wait: Duration) -> i32 {
    i32::try_from(wait.as_millis()).unwrap_or(i32::MAX)
}
