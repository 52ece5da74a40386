//! The examples in `docs/formats/data-protocol.md` are what the code reads and writes.

use std::collections::BTreeMap;

use bytes::Bytes;
use thalweg_types::Offset;
use thalweg_wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use thalweg_wire::messages::{FetchRequest, FetchResponse};
use thalweg_wire::{
    ANNOUNCED, EXTENSION, FOR_LIBRDKAFKA, ModuleSource, OpenStreamRequest, OpenStreamResponse,
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

#[test]
fn the_open_stream_request_is_read_and_written() {
    let frame = example("open-stream-request");
    let request = OpenStreamRequest {
        purpose: StreamPurpose::Consume,
        steps: vec![StreamStep {
            name: "late".to_owned(),
            source: ModuleSource::Wasm(Bytes::from_static(b"\0asm\x01\0\0\0")),
            params: BTreeMap::from([("min".to_owned(), "60".to_owned())]),
        }],
        accumulator: None,
    };

    let (header, message) = decode_request_header(&frame.slice(4..)).unwrap();

    assert_eq!((header.api_key, header.correlation_id), (20000, 7));
    assert_eq!(
        decode_request::<OpenStreamRequest>(0, message).unwrap(),
        request
    );
    assert_eq!(encode_request(&request, 0, 7, "thalweg").unwrap(), frame);
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
    let response = FetchResponse::default().with_responses(vec![
        FetchableTopicResponse::default().with_partitions(vec![partition]),
    ]);

    let frame = encode_response::<FetchRequest>(&response, 12, 1).unwrap();

    // No tags follow for the topic and for the response.
    let end = [&example("fetch-partition-tags")[..], &[0, 0]].concat();
    assert!(frame.ends_with(&end), "{frame:02x?}");
}

#[test]
fn the_table_of_apis_is_what_is_announced() {
    for range in ANNOUNCED.iter().chain(EXTENSION).chain(FOR_LIBRDKAFKA) {
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
