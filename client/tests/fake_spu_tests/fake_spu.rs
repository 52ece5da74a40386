//! An SPU that does as the test says: one topic, one partition, one log in memory, over loopback.
//!
//! It keeps Kafka's rules about sequences, so that a client that breaks them is found out, and it
//! fails on request: see [`Fate`].

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use thalweg_record::{Batch, batches, stamp_position};
use thalweg_runtime::TaskGroup;
use thalweg_types::{ClusterId, LeaderEpoch, Offset, TopicName, next_sequence};
use thalweg_wire::messages::api_versions_response::ApiVersion;
use thalweg_wire::messages::describe_configs_response::DescribeConfigsResult;
use thalweg_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use thalweg_wire::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use thalweg_wire::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use thalweg_wire::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use thalweg_wire::messages::*;
use thalweg_wire::{
    ANNOUNCED, ApiRequest, EXTENSION, FailedRecords, FrameReader, KafkaError, KeyedAccumulators,
    OPEN_STREAM_KEY, OpenStreamRequest, OpenStreamResponse, RequestHeader, StrBytes, StreamFailure,
    StreamId, decode_request, decode_request_header, encode_response, tags,
};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub(crate) const TOPIC: &str = "flights";

/// What happens to one Produce or Fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is answered as it should be.
    Served,
    /// It is answered with this error, and not carried out.
    Refused(i16),
    /// The connection breaks before it is carried out.
    LostBefore,
    /// It is carried out, and the connection breaks before the answer.
    LostAfter,
}

/// Runs until dropped.
pub(crate) struct FakeSpu {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    answers: Arc<Semaphore>,
    tasks: TaskGroup,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) produce_fates: VecDeque<Fate>,
    pub(crate) fetch_fates: VecDeque<Fate>,
    /// Whole batches, one after the other.
    pub(crate) log: Vec<u8>,
    pub(crate) log_start: i64,
    pub(crate) log_end: i64,
    pub(crate) produce_request_count: usize,
    /// How long each fetch was ready to wait, in milliseconds.
    pub(crate) fetch_waits_ms: Vec<i32>,
    /// The accumulators that streams were opened with.
    pub(crate) opened: Vec<Option<Bytes>>,
    /// The accumulators that fetches came with, and from where.
    pub(crate) resumed_with: Vec<(i64, Option<Bytes>)>,
    /// The accumulators by key that fetches came with, and from where.
    pub(crate) resumed_by_key: Vec<(i64, Option<KeyedAccumulators>)>,
    /// Streams aggregate by key: each answer changes the key `all` and one of its own.
    pub(crate) is_by_key: bool,
    /// The cluster that it says it is of.
    pub(crate) cluster: Option<ClusterId>,
    /// It is older than what streams can be asked for.
    pub(crate) is_old: bool,
    /// Streams pass nothing, up to this many records for each fetch.
    pub(crate) stream_step: i64,
    pub(crate) stream_failure: Option<StreamFailure>,
    pub(crate) open_stream_refusal: Option<String>,
    /// So many streams are not opened for now.
    pub(crate) busy_opens: usize,
    producer: Option<KnownProducer>,
}

/// What the leader remembers of the one producer.
struct KnownProducer {
    epoch: i16,
    next_sequence: i32,
    /// Sequence and base offset of the last five batches.
    recent: VecDeque<(i32, i64)>,
}

impl FakeSpu {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let spu = Self {
            address: address.clone(),
            state: Arc::default(),
            answers: Arc::new(Semaphore::new(1 << 20)),
            tasks: TaskGroup::new(),
        };
        let (state, answers, tasks) = (spu.state.clone(), spu.answers.clone(), spu.tasks.clone());
        spu.tasks.spawn("fake-spu", |_| async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let serve = serve(socket, address.clone(), state.clone(), answers.clone());
                tasks.spawn("fake-spu-connection", |_| async move {
                    serve.await;
                    Ok::<_, Infallible>(())
                });
            }
            #[expect(unreachable_code, reason = "gives the task its type")]
            Ok::<_, Infallible>(())
        });
        spu
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Holds the answers to Produce back until [`release`](Self::release).
    pub(crate) async fn hold(&self) {
        let held = self.answers.available_permits();
        self.answers
            .acquire_many(u32::try_from(held).unwrap())
            .await
            .unwrap()
            .forget();
    }

    pub(crate) fn release(&self) {
        self.answers.add_permits(1 << 20);
    }

    /// The values in the log, in order.
    pub(crate) fn values(&self) -> Vec<String> {
        let state = self.state();
        let mut values = Vec::new();
        for batch in batches(&state.log) {
            for record in &batch.unwrap().records(1 << 24).unwrap() {
                let value = record.unwrap().value.unwrap().to_vec();
                values.push(String::from_utf8(value).unwrap());
            }
        }
        values
    }
}

impl State {
    /// Appends a batch as the leader does.
    pub(crate) fn append(&mut self, batch: &[u8]) -> i64 {
        let mut batch = batch.to_vec();
        let base_offset = self.log_end;
        stamp_position(&mut batch, Offset(base_offset), LeaderEpoch(0)).unwrap();
        self.log_end += i64::from(Batch::parse(&batch).unwrap().header().record_count);
        self.log.extend_from_slice(&batch);
        base_offset
    }

    fn produce(&mut self, bytes: &[u8]) -> (i16, i64) {
        let batch = Batch::parse(bytes).unwrap();
        batch.validate_produced().unwrap();
        let header = *batch.header();
        if header.producer_id.0 < 0 {
            return (0, self.append(bytes));
        }
        let epoch = header.producer_epoch.0;
        let fresh = || KnownProducer {
            epoch,
            next_sequence: 0,
            recent: VecDeque::new(),
        };
        let known = self.producer.get_or_insert_with(fresh);
        if epoch < known.epoch {
            return (47, -1);
        }
        if epoch > known.epoch {
            *known = fresh();
        }
        let sequence = header.base_sequence;
        if let Some((_, offset)) = known.recent.iter().find(|(first, _)| *first == sequence) {
            return (0, *offset);
        }
        if sequence != known.next_sequence {
            return (45, -1);
        }
        known.next_sequence = next_sequence(sequence, header.record_count);
        let base_offset = self.log_end;
        known.recent.push_back((sequence, base_offset));
        if known.recent.len() > 5 {
            known.recent.pop_front();
        }
        self.append(bytes);
        (0, base_offset)
    }

    /// Two batches from the one that holds `offset`, so that reading a log takes many fetches.
    fn records_from(&self, offset: i64) -> Bytes {
        let wanted = batches(&self.log)
            .map(Result::unwrap)
            .filter(|batch| batch.header().next_offset().0 > offset);
        let found: Vec<_> = wanted.take(2).map(|batch| batch.bytes()).collect();
        found.concat().into()
    }
}

async fn serve(
    socket: TcpStream,
    address: String,
    state: Arc<Mutex<State>>,
    answers: Arc<Semaphore>,
) {
    socket.set_nodelay(true).unwrap();
    let (reader, mut writer) = socket.into_split();
    let mut frames = FrameReader::new(reader, 64 << 20);
    while let Ok(Some(frame)) = frames.next().await {
        let (header, message) = decode_request_header(&frame).unwrap();
        if header.api_key == ApiKey::Produce as i16 {
            answers.acquire().await.unwrap().forget();
        }
        let answer = answer(&header, message, &address, &state).await;
        match answer {
            Some(bytes) => writer.write_all(&bytes).await.unwrap_or_default(),
            None => return,
        }
    }
}

/// The answer, or `None` to break the connection.
async fn answer(
    header: &RequestHeader,
    message: Bytes,
    address: &str,
    state: &Mutex<State>,
) -> Option<Bytes> {
    if header.api_key == OPEN_STREAM_KEY {
        let request = read::<OpenStreamRequest>(header, message);
        let response = open_stream(&mut state.lock().unwrap(), request);
        return Some(write::<OpenStreamRequest>(header, &response));
    }
    Some(match ApiKey::try_from(header.api_key).unwrap() {
        ApiKey::ApiVersions => {
            let state = state.lock().unwrap();
            let mut response = api_versions(state.is_old);
            if let Some(cluster) = state.cluster {
                tags::set_cluster_id(&mut response.unknown_tagged_fields, cluster);
            }
            write::<ApiVersionsRequest>(header, &response)
        }
        ApiKey::Metadata => {
            let request = read::<MetadataRequest>(header, message);
            write::<MetadataRequest>(header, &metadata(&request, address))
        }
        ApiKey::InitProducerId => {
            let response = InitProducerIdResponse::default()
                .with_producer_id(7.into())
                .with_producer_epoch(0);
            write::<InitProducerIdRequest>(header, &response)
        }
        ApiKey::DescribeConfigs => {
            let response = DescribeConfigsResponse::default()
                .with_results(vec![DescribeConfigsResult::default()]);
            write::<DescribeConfigsRequest>(header, &response)
        }
        ApiKey::ListOffsets => {
            let request = read::<ListOffsetsRequest>(header, message);
            let response = list_offsets(&request, &state.lock().unwrap());
            write::<ListOffsetsRequest>(header, &response)
        }
        ApiKey::Produce => {
            let request = read::<ProduceRequest>(header, message);
            let response = produce(&request, &mut state.lock().unwrap())?;
            write::<ProduceRequest>(header, &response)
        }
        ApiKey::Fetch => {
            let request = read::<FetchRequest>(header, message);
            let response = fetch(&request, &mut state.lock().unwrap())?;
            write::<FetchRequest>(header, &response)
        }
        other => panic!("{other:?}"),
    })
}

fn read<R: ApiRequest>(header: &RequestHeader, message: Bytes) -> R {
    decode_request(header.api_version, message).unwrap()
}

fn write<R: ApiRequest>(header: &RequestHeader, response: &R::Response) -> Bytes {
    encode_response::<R>(response, header.api_version, header.correlation_id).unwrap()
}

fn api_versions(is_old: bool) -> ApiVersionsResponse {
    let ranges = ANNOUNCED.iter().chain(EXTENSION);
    let keys = ranges.map(|range| {
        ApiVersion::default()
            .with_api_key(range.key)
            .with_min_version(range.min)
            .with_max_version(match range.key {
                OPEN_STREAM_KEY if is_old => 0,
                _ => range.max,
            })
    });
    ApiVersionsResponse::default().with_api_keys(keys.collect())
}

fn metadata(request: &MetadataRequest, address: &str) -> MetadataResponse {
    let (host, port) = address.rsplit_once(':').unwrap();
    let broker = MetadataResponseBroker::default()
        .with_node_id(0.into())
        .with_host(StrBytes::from_string(host.to_owned()))
        .with_port(port.parse().unwrap());
    let topics = request.topics.iter().flatten().map(|topic| {
        let name = topic.name.clone().unwrap();
        let known = name.as_str() == TOPIC;
        let partition = MetadataResponsePartition::default()
            .with_partition_index(0)
            .with_leader_id(0.into())
            .with_leader_epoch(0);
        MetadataResponseTopic::default()
            .with_name(Some(name))
            .with_error_code(if known { 0 } else { 3 })
            .with_partitions(if known { vec![partition] } else { vec![] })
    });
    MetadataResponse::default()
        .with_brokers(vec![broker])
        .with_topics(topics.collect())
}

fn list_offsets(request: &ListOffsetsRequest, state: &State) -> ListOffsetsResponse {
    let offset = match request.topics[0].partitions[0].timestamp {
        -2 => state.log_start,
        -1 => state.log_end,
        _ => -1,
    };
    let partition = ListOffsetsPartitionResponse::default().with_offset(offset);
    let topic = ListOffsetsTopicResponse::default()
        .with_name(request.topics[0].name.clone())
        .with_partitions(vec![partition]);
    ListOffsetsResponse::default().with_topics(vec![topic])
}

fn produce(request: &ProduceRequest, state: &mut State) -> Option<ProduceResponse> {
    let topic = &request.topic_data[0];
    let partition = &topic.partition_data[0];
    state.produce_request_count += 1;
    let fate = state.produce_fates.pop_front().unwrap_or(Fate::Served);
    let (code, offset) = match fate {
        Fate::LostBefore => return None,
        Fate::Refused(code) => (code, -1),
        Fate::Served | Fate::LostAfter => state.produce(partition.records.as_ref().unwrap()),
    };
    if fate == Fate::LostAfter {
        return None;
    }
    let answer = PartitionProduceResponse::default()
        .with_index(partition.index)
        .with_error_code(code)
        .with_base_offset(offset);
    let answer = TopicProduceResponse::default()
        .with_name(topic.name.clone())
        .with_partition_responses(vec![answer]);
    Some(ProduceResponse::default().with_responses(vec![answer]))
}

fn fetch(request: &FetchRequest, state: &mut State) -> Option<FetchResponse> {
    state.fetch_waits_ms.push(request.max_wait_ms);
    let topic = &request.topics[0];
    let wanted = &topic.partitions[0];
    let fate = state.fetch_fates.pop_front().unwrap_or(Fate::Served);
    let mut answer = PartitionData::default().with_partition_index(wanted.partition);
    let from = wanted.fetch_offset;
    match fate {
        Fate::LostBefore | Fate::LostAfter => return None,
        Fate::Refused(code) => {
            answer.error_code = code;
            if let Some(failure) = &state.stream_failure {
                tags::set_stream_failure(&mut answer.unknown_tagged_fields, failure);
            }
        }
        Fate::Served if from < state.log_start || from > state.log_end => answer.error_code = 1,
        Fate::Served if tags::stream_id(&wanted.unknown_tagged_fields).is_some() => {
            let accumulator = tags::accumulator(&wanted.unknown_tagged_fields);
            state.resumed_with.push((from, accumulator));
            let by_key = tags::keyed_accumulators(&wanted.unknown_tagged_fields).unwrap();
            state.resumed_by_key.push((from, by_key));
            let fields = &mut answer.unknown_tagged_fields;
            if let Some(failure) = &state.stream_failure {
                answer.error_code = thalweg_wire::STREAM_FAILED;
                tags::set_stream_failure(fields, failure);
            } else {
                let next = (from + state.stream_step).min(state.log_end);
                tags::set_resume_offset(fields, Offset(next));
                let sum = Bytes::from(format!("sum to {next}"));
                if state.is_by_key {
                    let own = Some(Bytes::from(next.to_string()));
                    let all = Some(Bytes::from_static(b"all"));
                    let changed = [(own, sum.clone()), (all, sum)].into();
                    tags::set_keyed_accumulators(fields, &changed);
                } else {
                    tags::set_accumulator(fields, sum);
                }
                let failed = FailedRecords {
                    step: "late".to_owned(),
                    skipped: 2,
                    dead_lettered: 0,
                    last_message: format!("before {next}"),
                };
                tags::set_failed_records(fields, &[failed]);
            }
        }
        Fate::Served => answer.records = Some(state.records_from(from)),
    }
    let answer = FetchableTopicResponse::default()
        .with_topic(topic.topic.clone())
        .with_partitions(vec![answer]);
    Some(FetchResponse::default().with_responses(vec![answer]))
}

fn open_stream(state: &mut State, request: OpenStreamRequest) -> OpenStreamResponse {
    let is_busy = state.busy_opens > 0;
    state.busy_opens = state.busy_opens.saturating_sub(1);
    if !is_busy {
        state.opened.push(request.accumulator);
    }
    OpenStreamResponse {
        error_code: match state.open_stream_refusal {
            _ if is_busy => KafkaError::KafkaStorageError.code(),
            Some(_) => thalweg_wire::MODULE_REFUSED,
            None => 0,
        },
        error_message: state.open_stream_refusal.clone(),
        stream_id: StreamId(i32::try_from(state.opened.len()).unwrap()),
    }
}

pub(crate) fn topic() -> TopicName {
    TOPIC.parse().unwrap()
}
