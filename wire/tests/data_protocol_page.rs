//! The examples in `docs/formats/data-protocol.md` are what the code reads and writes.

use bytes::Bytes;
use thalweg_types::{LookBack, Offset, OnError};
use thalweg_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use thalweg_wire::messages::{FetchRequest, FetchResponse};
use thalweg_wire::{
    ANNOUNCED, EXTENSION, FailedRecords, ModuleSource, OpenStreamRequest, OpenStreamResponse,
    StreamId, StreamPurpose, StreamStep, decode_request, decode_request_header, decode_response,
    encode_request, encode_response, tags,
};

const PAGE: &str = include_str!("../../docs/formats/data-protocol.md");

/// The bytes of an example: what stands before two blanks or the end of each line.
fn example(name: &str) -> Bytes {
    let start = format!("```hex {name}\n");
    let (_, rest) = PAGE.split_once(&start).expect("the page has the example");
    let (block, _) = rest.split_once("```").expect("the example ends");
    block
        .lines()
        .flat_map(|line| {
            line.split("  ")
                .next()
                .unwrap_or_default()
                .split_whitespace()
        })
        .map(|byte| u8::from_str_radix(byte, 16).expect("the example is in hexadecimal"))
        .collect()
}

/// The request of the examples, as far as version 0 goes.
fn late() -> OpenStreamRequest {
    let wasm = ModuleSource::Wasm(Bytes::from_static(b"\0asm\x01\0\0\0"));
    let mut step = StreamStep::new("late", wasm);
    step.params.insert("min".to_owned(), "60".to_owned());
    OpenStreamRequest::new(StreamPurpose::Consume, vec![step])
}

#[test]
fn the_open_stream_request_is_read_and_written() {
    let frame = example("open-stream-request");
    let request = late();

    let (header, message) = decode_request_header(&frame.slice(4..)).unwrap();

    assert_eq!((header.api_key, header.correlation_id), (20000, 7));
    assert_eq!(
        decode_request::<OpenStreamRequest>(0, message).unwrap(),
        request
    );
    assert_eq!(encode_request(&request, 0, 7, "thalweg").unwrap(), frame);
}

#[test]
fn the_open_stream_request_of_version_1_is_read_and_written() {
    let frame = example("open-stream-request-1");
    let mut request = late();
    request.steps[0].on_error = OnError::Skip;
    request.steps[0].look_back = Some(LookBack {
        last: Some(100),
        age_ms: None,
    });
    request.topic = Some("flights".parse().unwrap());
    request.is_by_key = true;

    let (header, message) = decode_request_header(&frame.slice(4..)).unwrap();

    assert_eq!((header.api_key, header.api_version), (20000, 1));
    assert_eq!(
        decode_request::<OpenStreamRequest>(1, message).unwrap(),
        request
    );
    assert_eq!(encode_request(&request, 1, 7, "thalweg").unwrap(), frame);
}

#[test]
fn the_open_stream_response_is_read_and_written() {
    let frame = example("open-stream-response");
    let response = OpenStreamResponse {
        error_code: 0,
        error_message: None,
        stream_id: StreamId(3),
    };

    let decoded = decode_response::<OpenStreamRequest>(0, frame.slice(4..)).unwrap();

    assert_eq!(decoded, response);
    assert_eq!(
        encode_response::<OpenStreamRequest>(&response, 0, 7).unwrap(),
        frame
    );
}

#[test]
fn the_tagged_fields_stand_at_the_end_of_the_partition() {
    let mut partition = PartitionData::default();
    tags::set_resume_offset(&mut partition.unknown_tagged_fields, Offset(1000));
    tags::set_accumulator(
        &mut partition.unknown_tagged_fields,
        Bytes::from_static(b"42"),
    );

    assert_ends_with(partition, "fetch-partition-tags");
}

#[test]
fn accumulators_by_key_and_failed_records_are_tagged_fields_too() {
    let mut partition = PartitionData::default();
    let fields = &mut partition.unknown_tagged_fields;
    let accumulators = [(Some(Bytes::from_static(b"UA")), Bytes::from_static(b"7"))].into();
    let failed = [FailedRecords {
        step: "late".to_owned(),
        skipped: 2,
        dead_lettered: 0,
        last_message: "no day".to_owned(),
    }];
    tags::set_resume_offset(fields, Offset(1000));
    tags::set_keyed_accumulators(fields, &accumulators);
    tags::set_failed_records(fields, &failed);

    assert_eq!(tags::keyed_accumulators(fields), Ok(Some(accumulators)));
    assert_eq!(tags::failed_records(fields), failed);
    assert_ends_with(partition, "fetch-partition-keyed-tags");
}

/// A Fetch response with this partition alone ends with the example's bytes.
fn assert_ends_with(partition: PartitionData, name: &str) {
    let response = FetchResponse::default().with_responses(vec![
        FetchableTopicResponse::default().with_partitions(vec![partition]),
    ]);

    let frame = encode_response::<FetchRequest>(&response, 12, 1).expect("it can be written");

    // No tags follow for the topic and for the response.
    let end = [&example(name)[..], &[0, 0]].concat();
    assert!(frame.ends_with(&end), "{frame:02x?}");
}

#[test]
fn the_table_of_apis_is_what_is_announced() {
    for range in ANNOUNCED.iter().chain(EXTENSION) {
        let versions = if range.min == range.max {
            range.min.to_string()
        } else {
            format!("{}-{}", range.min, range.max)
        };
        let row = PAGE
            .lines()
            .find(|line| line.starts_with(&format!("| {} |", range.key)))
            .unwrap_or_else(|| panic!("API {} is not on the page", range.key));
        assert_eq!(
            row.split('|')
                .nth(3)
                .expect("the row has four cells")
                .trim(),
            versions,
            "{row}"
        );
    }
}
