//! A Fetch response around records that are somewhere else.
//!
//! `kafka-protocol` would copy the records into the frame. Here the fields before and after them
//! are written, and the one who sends puts the records between, right from the segment's file.

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{ApiKey, FetchResponse};

use crate::api::header_versions;
use crate::error::EncodeError;
use crate::primitives::{put_compact_length, put_compact_text, put_uvarint};

/// The first version with compact lengths and tagged fields.
const FLEXIBLE_FROM: i16 = 12;

/// A part of a Fetch response's frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FetchPart {
    /// Fields, ready to be sent.
    Fields(Bytes),
    /// Here go the records of that partition, counted from 0 through the whole response.
    Records(usize),
}

/// Writes `response`, whose partitions have no records of their own, as the frame that it becomes
/// when the partitions, in order, have records of `records_bytes` bytes. Versions 4 to 12.
///
/// # Errors
/// When the frame would be longer than 2^31 bytes, or the version is another.
pub fn encode_fetch_response(
    response: &FetchResponse,
    records_bytes: &[usize],
    version: i16,
    correlation_id: i32,
) -> Result<Vec<FetchPart>, EncodeError> {
    let failed = |reason: &str| EncodeError {
        api_key: ApiKey::Fetch as i16,
        version,
        reason: reason.to_owned(),
    };
    if !(4..=FLEXIBLE_FROM).contains(&version) {
        return Err(failed("only versions 4 to 12 are known"));
    }
    let mut frame = FrameInParts {
        parts: Vec::new(),
        fields: BytesMut::with_capacity(256),
        length: 0,
        is_flexible: version >= FLEXIBLE_FROM,
        version,
    };
    frame.fields.put_i32(0);
    frame.fields.put_i32(correlation_id);
    let headers = header_versions(ApiKey::Fetch as i16, version);
    if headers.is_some_and(|headers| headers.response >= 1) {
        put_uvarint(&mut frame.fields, 0);
    }
    frame.response(response, records_bytes).map_err(failed)?;
    frame
        .finish()
        .ok_or_else(|| failed("the frame is longer than 2^31 bytes"))
}

struct FrameInParts {
    parts: Vec<FetchPart>,
    /// What has been written since the last records.
    fields: BytesMut,
    /// How long the finished parts are, with their records, in bytes.
    length: usize,
    is_flexible: bool,
    version: i16,
}

impl FrameInParts {
    fn response(
        &mut self,
        response: &FetchResponse,
        records_bytes: &[usize],
    ) -> Result<(), &'static str> {
        self.fields.put_i32(response.throttle_time_ms);
        if self.version >= 7 {
            self.fields.put_i16(response.error_code);
            self.fields.put_i32(response.session_id);
        }
        self.array(response.responses.len());
        let mut sizes = records_bytes.iter().copied().enumerate();
        for topic in &response.responses {
            self.text(&topic.topic);
            self.array(topic.partitions.len());
            for partition in &topic.partitions {
                let (index, size) = sizes.next().ok_or("a partition has no records' size")?;
                self.partition(partition, index, size);
            }
            self.no_tagged_fields();
        }
        self.no_tagged_fields();
        Ok(())
    }

    fn partition(&mut self, partition: &PartitionData, index: usize, records_bytes: usize) {
        self.fields.put_i32(partition.partition_index);
        self.fields.put_i16(partition.error_code);
        self.fields.put_i64(partition.high_watermark);
        self.fields.put_i64(partition.last_stable_offset);
        if self.version >= 5 {
            self.fields.put_i64(partition.log_start_offset);
        }
        match &partition.aborted_transactions {
            Some(aborted) => {
                self.array(aborted.len());
                for transaction in aborted {
                    self.fields.put_i64(transaction.producer_id.0);
                    self.fields.put_i64(transaction.first_offset);
                    self.no_tagged_fields();
                }
            }
            None if self.is_flexible => put_uvarint(&mut self.fields, 0),
            None => self.fields.put_i32(-1),
        }
        if self.version >= 11 {
            self.fields.put_i32(partition.preferred_read_replica.0);
        }
        self.array(records_bytes);
        if records_bytes > 0 {
            self.finish_fields();
            self.parts.push(FetchPart::Records(index));
            self.length += records_bytes;
        }
        if self.is_flexible {
            self.partition_tags(partition);
        }
    }

    /// The diverging epoch, and what is not Kafka's. The other tags of Kafka's are never set.
    fn partition_tags(&mut self, partition: &PartitionData) {
        let diverging = &partition.diverging_epoch;
        let has_diverging = diverging.epoch != -1 || diverging.end_offset != -1;
        let count = partition.unknown_tagged_fields.len() + usize::from(has_diverging);
        put_uvarint(
            &mut self.fields,
            u32::try_from(count).expect("a handful of tags"),
        );
        if has_diverging {
            put_uvarint(&mut self.fields, 0);
            put_uvarint(&mut self.fields, 4 + 8 + 1);
            self.fields.put_i32(diverging.epoch);
            self.fields.put_i64(diverging.end_offset);
            put_uvarint(&mut self.fields, 0);
        }
        for (tag, value) in &partition.unknown_tagged_fields {
            put_uvarint(&mut self.fields, tag.cast_unsigned());
            let size = u32::try_from(value.len()).expect("a frame is shorter than 2^31 bytes");
            put_uvarint(&mut self.fields, size);
            self.fields.put_slice(value);
        }
    }

    /// The length of an array or of bytes.
    fn array(&mut self, length: usize) {
        if self.is_flexible {
            put_compact_length(&mut self.fields, length);
        } else {
            let length = i32::try_from(length).expect("a frame is shorter than 2^31 bytes");
            self.fields.put_i32(length);
        }
    }

    fn text(&mut self, text: &str) {
        if self.is_flexible {
            put_compact_text(&mut self.fields, Some(text));
        } else {
            let length = i16::try_from(text.len()).expect("a topic's name has 249 bytes at most");
            self.fields.put_i16(length);
            self.fields.put_slice(text.as_bytes());
        }
    }

    fn no_tagged_fields(&mut self) {
        if self.is_flexible {
            put_uvarint(&mut self.fields, 0);
        }
    }

    fn finish_fields(&mut self) {
        let fields = self.fields.split().freeze();
        self.length += fields.len();
        self.parts.push(FetchPart::Fields(fields));
    }

    /// Writes the length of it all in front.
    fn finish(mut self) -> Option<Vec<FetchPart>> {
        self.finish_fields();
        let length = i32::try_from(self.length - 4).ok()?;
        if let Some(FetchPart::Fields(first)) = self.parts.first_mut() {
            let mut fields = BytesMut::from(&first[..]);
            fields[..4].copy_from_slice(&length.to_be_bytes());
            *first = fields.freeze();
        }
        Some(self.parts)
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse,
    };
    use kafka_protocol::messages::{BrokerId, FetchRequest, TopicName};
    use kafka_protocol::protocol::StrBytes;

    use super::*;
    use crate::encode_response;

    fn partition(version: i16, index: i32) -> PartitionData {
        let mut partition = PartitionData::default()
            .with_partition_index(index)
            .with_high_watermark(100)
            .with_last_stable_offset(100)
            .with_aborted_transactions(
                (index > 0).then(|| vec![AbortedTransaction::default().with_first_offset(3)]),
            );
        if version >= 5 {
            partition = partition.with_log_start_offset(7);
        }
        if version >= 11 {
            partition = partition.with_preferred_read_replica(BrokerId(2));
        }
        if version >= 12 {
            crate::tags::set_resume_offset(
                &mut partition.unknown_tagged_fields,
                thalweg_types::Offset(9),
            );
            partition = partition.with_diverging_epoch(
                EpochEndOffset::default()
                    .with_epoch(index)
                    .with_end_offset(4),
            );
        }
        partition
    }

    #[test]
    fn the_parts_are_the_frame_that_kafka_protocol_writes() {
        let records = [
            Bytes::from_static(b"one"),
            Bytes::new(),
            Bytes::from(vec![7; 300]),
        ];
        for version in 4..=12 {
            let whole = |with_records: bool| {
                let topic = |name, indexes: &[i32]| {
                    let partitions = indexes.iter().map(|index| {
                        let records = &records[usize::try_from(*index).unwrap()];
                        let records = with_records.then(|| records.clone());
                        partition(version, *index).with_records(records)
                    });
                    FetchableTopicResponse::default()
                        .with_topic(TopicName(StrBytes::from_static_str(name)))
                        .with_partitions(partitions.collect())
                };
                FetchResponse::default()
                    .with_responses(vec![topic("flights", &[0, 1]), topic("orders", &[2])])
            };

            let sizes: Vec<_> = records.iter().map(Bytes::len).collect();
            let parts = encode_fetch_response(&whole(false), &sizes, version, 5).unwrap();

            let mut frame = BytesMut::new();
            for part in &parts {
                match part {
                    FetchPart::Fields(fields) => frame.put_slice(fields),
                    FetchPart::Records(index) => frame.put_slice(&records[*index]),
                }
            }
            let expected = encode_response::<FetchRequest>(&whole(true), version, 5).unwrap();
            assert_eq!(frame.freeze(), expected, "version {version}");
        }
    }
}
