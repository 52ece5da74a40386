//! One batch as a Produce request, and what the answer means.
//!
//! The request is written by hand around the batch, so that its bytes go from the builder to the
//! socket without a copy: `kafka-protocol` would copy them into the frame.

use bytes::{BufMut, Bytes, BytesMut};
use thalweg_types::{Offset, TopicPartition};
use thalweg_wire::messages::ApiKey;
use thalweg_wire::messages::produce_response::PartitionProduceResponse;
use thalweg_wire::tags::{
    TaggedFields, accumulator, failed_records, keyed_accumulators, stream_failure,
};
use thalweg_wire::{
    ACCUMULATORS_NEEDED, FailedRecords, KafkaError, STREAM_FAILED, UNKNOWN_STREAM, kafka_error,
};

use super::ProduceError;
use super::delivery::BatchStored;
use super::state::Attempt;
use crate::Accumulators;
use crate::data::{RequestError, kafka_name};

/// The version that is written here: the first that may carry tagged fields.
pub(crate) const PRODUCE_VERSION: i16 = 9;

/// What a Produce request says beside its batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProduceFrame<'a> {
    pub(crate) correlation_id: i32,
    pub(crate) client_id: &'a str,
    pub(crate) acks: i16,
    pub(crate) timeout_ms: i32,
    pub(crate) partition: &'a TopicPartition,
    /// Those of the partition.
    pub(crate) fields: &'a TaggedFields,
}

impl ProduceFrame<'_> {
    /// The whole frame with its length, in three parts: what is before the batch, the batch, and
    /// what is after it.
    pub(crate) fn around(&self, batch: Bytes) -> [Bytes; 3] {
        let mut after = BytesMut::with_capacity(16);
        put_uvarint(&mut after, length(self.fields.len()));
        for (tag, value) in self.fields {
            put_uvarint(&mut after, tag.cast_unsigned());
            put_uvarint(&mut after, length(value.len()));
            after.put_slice(value);
        }
        // The tagged fields of the topic and of the request.
        after.put_bytes(0, 2);

        let mut before = BytesMut::with_capacity(96);
        before.put_i32(0);
        before.put_i16(ApiKey::Produce as i16);
        before.put_i16(PRODUCE_VERSION);
        before.put_i32(self.correlation_id);
        match i16::try_from(self.client_id.len()) {
            Ok(length) => {
                before.put_i16(length);
                before.put_slice(self.client_id.as_bytes());
            }
            // A name too long to be sent is for people only, and left out.
            Err(_) => before.put_i16(-1),
        }
        // The tagged fields of the header, then no transactional id.
        before.put_bytes(0, 2);
        before.put_i16(self.acks);
        before.put_i32(self.timeout_ms);
        // Lengths are written as one more than they are. One topic, its name, one partition.
        let topic = self.partition.topic.as_str();
        put_uvarint(&mut before, 2);
        put_uvarint(&mut before, length_plus_one(topic.len()));
        before.put_slice(topic.as_bytes());
        put_uvarint(&mut before, 2);
        before.put_i32(self.partition.partition.0);
        put_uvarint(&mut before, length_plus_one(batch.len()));

        let frame_bytes = before.len() - 4 + batch.len() + after.len();
        let frame_bytes = i32::try_from(frame_bytes).expect("a batch is far below 2 GiB");
        before[..4].copy_from_slice(&frame_bytes.to_be_bytes());
        [before.freeze(), batch, after.freeze()]
    }
}

/// What became of one attempt, and what to tell if it is the last.
#[derive(Debug)]
pub(crate) struct Judgement {
    pub(crate) attempt: Attempt,
    pub(crate) stored: BatchStored,
    /// Why the batch is not stored; `None` where it is.
    pub(crate) failure: Option<ProduceError>,
    /// Whether to ask who leads now, and connect anew.
    pub(crate) link_is_stale: bool,
    /// Records that SmartModules failed on and that did not fail the batch.
    pub(crate) failed_records: Vec<FailedRecords>,
    /// What the aggregate of the stream came to, or what of it has changed.
    pub(crate) accumulated: Accumulators,
}

/// Judges the leader's answer.
pub(crate) fn judge_answer(
    partition: &TopicPartition,
    answer: &PartitionProduceResponse,
) -> Judgement {
    let code = answer.error_code;
    let Some(error) = kafka_error(code) else {
        return stored(Some(answer));
    };
    let refused = || ProduceError::Refused {
        partition: partition.clone(),
        kafka_code: code,
        name: kafka_name(code),
        message: answer
            .error_message
            .as_ref()
            .map_or_else(|| "no more is known".to_owned(), ToString::to_string),
    };
    let (attempt, link_is_stale) = match error {
        KafkaError::DuplicateSequenceNumber => return stored(None),
        KafkaError::OutOfOrderSequenceNumber => (Attempt::OutOfOrder, false),
        KafkaError::UnknownProducerId => (Attempt::UnknownProducer, false),
        KafkaError::NotLeaderOrFollower
        | KafkaError::FencedLeaderEpoch
        | KafkaError::UnknownLeaderEpoch
        | KafkaError::LeaderNotAvailable
        | KafkaError::UnknownTopicOrPartition
        | KafkaError::KafkaStorageError
        | KafkaError::Unknown(UNKNOWN_STREAM) => (
            Attempt::Failed {
                maybe_stored: false,
            },
            true,
        ),
        KafkaError::NotEnoughReplicas
        | KafkaError::ThrottlingQuotaExceeded
        | KafkaError::Unknown(ACCUMULATORS_NEEDED) => (
            Attempt::Failed {
                maybe_stored: false,
            },
            false,
        ),
        KafkaError::NotEnoughReplicasAfterAppend
        | KafkaError::RequestTimedOut
        | KafkaError::NetworkException => (Attempt::Failed { maybe_stored: true }, false),
        _ => (Attempt::Refused, false),
    };
    let failure = match error {
        KafkaError::Unknown(STREAM_FAILED) => ProduceError::SmartModule {
            partition: partition.clone(),
            message: stream_failure(&answer.unknown_tagged_fields)
                .map_or_else(|| refused().to_string(), |failure| failure.to_string()),
        },
        KafkaError::InvalidProducerEpoch | KafkaError::ProducerFenced => ProduceError::Fenced {
            partition: partition.clone(),
            reason: kafka_name(code),
        },
        _ => refused(),
    };
    Judgement {
        attempt,
        stored: BatchStored::UNKNOWN,
        failure: Some(failure),
        link_is_stale,
        failed_records: Vec::new(),
        accumulated: Accumulators::None,
    }
}

/// Judges that there was no answer.
pub(crate) fn judge_failure(error: RequestError) -> Judgement {
    Judgement {
        attempt: Attempt::Failed {
            maybe_stored: error.outcome_unknown(),
        },
        stored: BatchStored::UNKNOWN,
        failure: Some(error.into()),
        link_is_stale: true,
        failed_records: Vec::new(),
        accumulated: Accumulators::None,
    }
}

fn stored(answer: Option<&PartitionProduceResponse>) -> Judgement {
    let known = |value: i64| (value >= 0).then_some(value);
    Judgement {
        attempt: Attempt::Stored,
        stored: BatchStored {
            base_offset: answer
                .and_then(|answer| known(answer.base_offset))
                .map(Offset),
            log_append_time_ms: answer.and_then(|answer| known(answer.log_append_time_ms)),
        },
        failure: None,
        link_is_stale: false,
        failed_records: answer
            .map(|answer| failed_records(&answer.unknown_tagged_fields))
            .unwrap_or_default(),
        accumulated: answer
            .map(|answer| accumulated(&answer.unknown_tagged_fields))
            .unwrap_or_default(),
    }
}

fn accumulated(fields: &TaggedFields) -> Accumulators {
    // What can't be read is as good as none: the leader asks for it when it is missed.
    match keyed_accumulators(fields) {
        Ok(Some(by_key)) => Accumulators::ByKey(by_key),
        Ok(None) | Err(_) => {
            accumulator(fields).map_or(Accumulators::None, Accumulators::Partition)
        }
    }
}

fn length_plus_one(bytes: usize) -> u32 {
    length(bytes + 1)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("batches and accumulators are far below 2 GiB")
}

fn put_uvarint(out: &mut BytesMut, mut value: u32) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use thalweg_types::PartitionIndex;
    use thalweg_wire::messages::ProduceRequest;
    use thalweg_wire::{StreamId, decode_request, decode_request_header, tags};

    use super::*;

    fn partition() -> TopicPartition {
        TopicPartition {
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(3),
        }
    }

    #[test]
    fn the_frame_is_what_kafkas_own_decoder_reads() {
        let partition = partition();
        let batch = Bytes::from(vec![7; 300]);
        let mut fields = TaggedFields::new();
        tags::set_stream_id(&mut fields, StreamId(9));
        tags::set_accumulator(&mut fields, Bytes::from(vec![1; 200]));
        let frame = ProduceFrame {
            correlation_id: 42,
            client_id: "me",
            acks: -1,
            timeout_ms: 1500,
            partition: &partition,
            fields: &fields,
        };

        let parts = frame.around(batch.clone());
        let whole = Bytes::from(parts.concat());
        let length = i32::from_be_bytes(whole[..4].try_into().unwrap());
        let (header, message) = decode_request_header(&whole.slice(4..)).unwrap();
        let request: ProduceRequest = decode_request(PRODUCE_VERSION, message).unwrap();

        assert_eq!(usize::try_from(length).unwrap(), whole.len() - 4);
        assert_eq!(
            (header.correlation_id, header.client_id.as_deref()),
            (42, Some("me"))
        );
        assert_eq!((request.acks, request.timeout_ms), (-1, 1500));
        let topic = &request.topic_data[0];
        assert_eq!(topic.name.as_str(), "flights");
        let data = &topic.partition_data[0];
        assert_eq!((data.index, data.records.as_ref()), (3, Some(&batch)));
        assert_eq!(data.unknown_tagged_fields, fields);
    }

    #[test]
    fn errors_after_the_append_leave_the_outcome_open_and_errors_before_it_do_not() {
        let judge = |code| {
            let answer = PartitionProduceResponse::default().with_error_code(code);
            judge_answer(&partition(), &answer).attempt
        };

        assert_eq!(judge(0), Attempt::Stored);
        assert_eq!(judge(46), Attempt::Stored);
        assert_eq!(judge(45), Attempt::OutOfOrder);
        assert_eq!(
            judge(6),
            Attempt::Failed {
                maybe_stored: false
            }
        );
        assert_eq!(
            judge(19),
            Attempt::Failed {
                maybe_stored: false
            }
        );
        assert_eq!(judge(20), Attempt::Failed { maybe_stored: true });
        assert_eq!(judge(7), Attempt::Failed { maybe_stored: true });
        assert_eq!(judge(10), Attempt::Refused);
    }
}
