//! Produce: batches into the log.
//!
//! [`ProduceCall::begin`] checks the batches and hands them to the log before it returns, so that
//! calls made one after the other are appended in that order; the future that it gives resolves
//! when they are acknowledged. The records of a request are slices of the frame that it came in,
//! all the way to the write.

mod check;
mod encoding;
mod old_versions;
mod output;
mod prepare;
mod prepared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use thalweg_storage::Appended;
use thalweg_types::{Offset, TopicName};
use thalweg_wire::messages::ProduceRequest;
use thalweg_wire::messages::produce_request::PartitionProduceData;
use thalweg_wire::messages::produce_response::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, TopicProduceResponse,
};
use thalweg_wire::{
    DecodeError, FailedRecords, KafkaError, RequestHeader, StrBytes, StreamFailure, decode_request,
    messages,
    tags::{self, TaggedFields},
};

use super::answer::Answer;
use super::connection::ConnectionError;
use super::memory::Reservation;
use super::refusal::Refusal;
use super::router::{Router, respond};
use super::streams::{NotTransformed, Restored};
use crate::replica::{Acks, ProduceError};
pub(crate) use output::LocalOutput;
use prepare::prepare;

/// The first version that holds batches of version 2, the only ones there are here.
const OLDEST_VERSION: i16 = 3;
/// What a partition of a request takes until it is answered, beside its records, in bytes.
const PARTITION_BYTES: usize = 400;
/// Requests with as few partitions as this need no reservation for them.
const PARTITIONS_FREE: usize = 4;
/// The first version that says in words what is wrong.
const MESSAGES_FROM: i16 = 8;
/// The first version that has tagged fields.
const TAGS_FROM: i16 = 9;

/// A produce request that has been read.
pub(super) struct ProduceCall {
    header: RequestHeader,
    request: ProduceRequest,
}

/// Why a partition's batch was not appended.
#[derive(Debug)]
pub(super) struct NotProduced {
    refusal: Refusal,
    /// The SmartModule that is to blame.
    failure: Option<StreamFailure>,
}

impl From<Refusal> for NotProduced {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            failure: None,
        }
    }
}

impl From<ProduceError> for NotProduced {
    fn from(error: ProduceError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<NotTransformed> for NotProduced {
    fn from(not: NotTransformed) -> Self {
        let NotTransformed { refusal, failure } = not;
        Self {
            refusal,
            failure: failure.map(|failure| *failure),
        }
    }
}

/// What became of a partition's batch.
struct Outcome {
    index: i32,
    produced: Result<Appended, NotProduced>,
    log_start: Offset,
    told: Told,
}

/// What the producer is told of its SmartModules.
#[derive(Default)]
struct Told {
    /// Records that they left out.
    failed: Vec<FailedRecords>,
    /// What the aggregate of its own stream has come to; by key, what the batch changed.
    accumulated: Restored,
    /// The memory that takes.
    room: Option<Reservation>,
}

/// A batch that is on its way into the log.
type Appending = BoxFuture<'static, Outcome>;

impl ProduceCall {
    pub(super) fn decode(header: RequestHeader, message: Bytes) -> Result<Self, DecodeError> {
        let request = if header.api_version < OLDEST_VERSION {
            old_versions::decode(message)?
        } else {
            decode_request(header.api_version, message)?
        };
        Ok(Self { header, request })
    }

    /// Hands the batches to the log. The future resolves when they are acknowledged as the
    /// request asks.
    pub(super) async fn begin(
        self,
        router: &Arc<Router>,
    ) -> Result<BoxFuture<'static, Answer>, ConnectionError> {
        let Self { header, request } = self;
        let acks = acks(&request, &header);
        let timeout = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
        let partitions: usize = request
            .topic_data
            .iter()
            .map(|topic| topic.partition_data.len())
            .sum();
        // Partitions without records hold nothing of the frame's reservation.
        let reservation = if partitions > PARTITIONS_FREE {
            let bytes = partitions.saturating_mul(PARTITION_BYTES);
            Some(router.shared.answers.reserve(bytes).await)
        } else {
            None
        };
        let mut topics = Vec::with_capacity(request.topic_data.len());
        for topic in request.topic_data {
            let name = TopicName::new(&topic.name).map_err(Refusal::from);
            let mut appending = Vec::with_capacity(topic.partition_data.len());
            for data in topic.partition_data {
                let target = acks.clone().and_then(|acks| Ok((name.clone()?, acks)));
                appending.push(begin_one(router, &header, target, data, timeout).await);
            }
            topics.push((topic.name, appending));
        }
        let wants_answer = request.acks != 0;
        Ok(async move {
            let answer = finish(header, topics, wants_answer).await;
            answer.holding(reservation)
        }
        .boxed())
    }
}

/// What the request asks to wait for, if it may ask for that.
fn acks(request: &ProduceRequest, header: &RequestHeader) -> Result<Acks, Refusal> {
    if header.api_version < OLDEST_VERSION {
        return Err(Refusal::new(
            KafkaError::UnsupportedForMessageFormat,
            "only record batches of version 2 are kept: use a client of Kafka 0.11 or newer",
        ));
    }
    if request.transactional_id.is_some() {
        return Err(Refusal::new(
            KafkaError::TransactionalIdAuthorizationFailed,
            "there are no transactions here: produce without a transactional id",
        ));
    }
    match request.acks {
        0 => Ok(Acks::None),
        1 => Ok(Acks::Leader),
        -1 => Ok(Acks::All),
        other => Err(Refusal::new(
            KafkaError::InvalidRequiredAcks,
            format!("acks can be 0, 1 or -1 (all), not {other}"),
        )),
    }
}

/// Checks one partition's batch and submits it.
async fn begin_one(
    router: &Router,
    header: &RequestHeader,
    target: Result<(TopicName, Acks), Refusal>,
    data: PartitionProduceData,
    timeout: Duration,
) -> Appending {
    let index = data.index;
    let prepared = match target {
        Ok((topic, acks)) => prepare(router, header, &topic, &acks, data)
            .await
            .map(|prepared| (prepared, acks)),
        Err(refusal) => Err(refusal.into()),
    };
    let (prepared, acks) = match prepared {
        Ok(prepared) => prepared,
        Err(refused) => {
            return futures::future::ready(Outcome {
                index,
                produced: Err(refused),
                log_start: Offset(-1),
                told: Told::default(),
            })
            .boxed();
        }
    };
    prepared.append(index, acks, timeout).await
}

/// Waits for all of the request's batches and puts the answer together.
async fn finish(
    header: RequestHeader,
    topics: Vec<(messages::TopicName, Vec<Appending>)>,
    wants_answer: bool,
) -> Answer {
    let mut responses = Vec::with_capacity(topics.len());
    let mut failed = None;
    let mut rooms = Vec::new();
    for (name, appending) in topics {
        let mut outcomes = join_all(appending).await;
        rooms.extend(
            outcomes
                .iter_mut()
                .filter_map(|outcome| outcome.told.room.take()),
        );
        if let Some(Err(first)) = outcomes
            .iter()
            .map(|outcome| &outcome.produced)
            .find(|p| p.is_err())
        {
            failed.get_or_insert_with(|| first.refusal.message.clone());
        }
        let partitions = outcomes
            .into_iter()
            .map(|outcome| outcome.into_response(header.api_version))
            .collect();
        responses.push(
            TopicProduceResponse::default()
                .with_name(name)
                .with_partition_responses(partitions),
        );
    }
    if !wants_answer {
        // All that a producer without acknowledgements can notice is that the connection ends.
        return match failed {
            Some(reason) => Answer::HangUp(reason),
            None => Answer::None,
        };
    }
    let response = messages::ProduceResponse::default().with_responses(responses);
    if header.api_version < OLDEST_VERSION {
        return Answer::frame(old_versions::encode(&header, &response));
    }
    respond::<ProduceRequest>(&header, &response)
        .unwrap_or_else(|error| Answer::HangUp(error.to_string()))
        .holding(rooms)
}

impl Outcome {
    fn into_response(self, version: i16) -> PartitionProduceResponse {
        let mut response = PartitionProduceResponse::default().with_index(self.index);
        if version >= 5 {
            response = response.with_log_start_offset(self.log_start.0);
        }
        match self.produced {
            Ok(appended) => {
                if version >= TAGS_FROM {
                    self.told.set_in(&mut response.unknown_tagged_fields);
                }
                response
                    .with_base_offset(appended.base_offset.0)
                    .with_log_append_time_ms(appended.log_append_time_ms.unwrap_or(-1))
            }
            Err(NotProduced { refusal, failure }) => {
                response = response
                    .with_error_code(refusal.code())
                    .with_base_offset(-1)
                    .with_log_append_time_ms(-1);
                if version >= MESSAGES_FROM {
                    response = response.with_error_message(Some(refusal.text()));
                    let of_record = failure
                        .as_ref()
                        .filter(|_| refusal.error == KafkaError::InvalidRecord)
                        .and_then(record_error);
                    response = response.with_record_errors(of_record.into_iter().collect());
                }
                if let Some(failure) = failure.filter(|_| version >= TAGS_FROM) {
                    tags::set_stream_failure(&mut response.unknown_tagged_fields, &failure);
                }
                response
            }
        }
    }
}

impl Told {
    fn set_in(self, fields: &mut TaggedFields) {
        if !self.failed.is_empty() {
            tags::set_failed_records(fields, &self.failed);
        }
        self.accumulated.set_in(fields);
    }
}

/// Which record of the batch was to blame, in Kafka's words.
fn record_error(failure: &StreamFailure) -> Option<BatchIndexAndErrorMessage> {
    let index = i32::try_from(failure.offset?.0).ok()?;
    let message = StrBytes::from_string(failure.message.clone());
    let error = BatchIndexAndErrorMessage::default().with_batch_index(index);
    Some(error.with_batch_index_error_message(Some(message)))
}
