//! Records that a SmartModule fails on and that do not end the stream.

use thalweg_record::BatchOptions;
use thalweg_types::{OnError, ProducerEpoch, ProducerId};
use thalweg_wire::messages::ProduceRequest;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{Bytes, FailedRecords, OpenStreamRequest, StreamId, StreamPurpose, tags};

use crate::client::RawClient;
use crate::setup::{
    TestSpu, batch, batch_with, fetch, fetch_request, fetch_request_of, produce, produce_request,
    produce_to, values_of,
};
use crate::streams::{open_request, resume, through};

/// A stream of topic `t` through `module` with that policy.
pub(crate) fn with_policy(
    purpose: StreamPurpose,
    module: &str,
    params: &[(&str, &str)],
    on_error: &str,
) -> OpenStreamRequest {
    let mut request = open_request(purpose, module, params);
    request.steps[0].on_error = on_error.parse().unwrap();
    request.topic = Some("t".parse().unwrap());
    request
}

pub(crate) async fn opened(client: &mut RawClient, request: &OpenStreamRequest) -> StreamId {
    let response = client.call(request, 1).await;
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    response.stream_id
}

pub(crate) fn produced_through(stream: StreamId, records: Bytes) -> ProduceRequest {
    let mut request = produce_request("t", 0, records);
    let partition = &mut request.topic_data[0].partition_data[0];
    tags::set_stream_id(&mut partition.unknown_tagged_fields, stream);
    request
}

/// What became of failed records: the step, how many were skipped, how many are dead letters.
pub(crate) fn counts(fields: &tags::TaggedFields) -> Vec<(String, u64, u64)> {
    let failed = tags::failed_records(fields).into_iter();
    failed
        .map(|one: FailedRecords| (one.step, one.skipped, one.dead_lettered))
        .collect()
}

fn skipped(data: &PartitionData) -> u64 {
    counts(&data.unknown_tagged_fields)
        .iter()
        .map(|(_, skipped, _)| skipped)
        .sum()
}

#[tokio::test]
async fn what_a_step_skips_is_left_out_and_counted() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["fine", "fail", "good", "fail", "end"])).await;
    let skipping = with_policy(StreamPurpose::Consume, "moody", &[], "skip");
    let stream = opened(&mut client, &skipping).await;

    let data = fetch(&mut client, &through(fetch_request(0), stream)).await;

    assert_eq!(values_of(&data), ["fine", "good", "end"]);
    assert_eq!((data.error_code, resume(&data)), (0, 5));
    let failed = tags::failed_records(&data.unknown_tagged_fields);
    assert_eq!((failed[0].step.as_str(), failed[0].skipped), ("moody", 2));
    assert_eq!(failed[0].last_message, "in no mood for offset 3");
}

#[tokio::test]
async fn a_batch_of_nothing_but_failures_is_a_step_forward() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    for _ in 0..3 {
        produce(&mut client, batch(&["fail", "panic"])).await;
    }
    let skipping = with_policy(StreamPurpose::Consume, "moody", &[], "skip");
    let stream = opened(&mut client, &skipping).await;
    let (mut offset, mut count) = (0, 0);

    while offset < 6 {
        let data = fetch(&mut client, &through(fetch_request(offset), stream)).await;
        assert!(values_of(&data).is_empty());
        count += skipped(&data);
        offset = resume(&data);
    }

    assert_eq!(count, 6);
}

#[tokio::test]
async fn a_stream_serves_the_topic_that_it_names_alone() {
    let spu = TestSpu::start().await;
    spu.create_topic("other", 1, &[("durability", "memory")])
        .await;
    let mut client = spu.client().await;
    produce_to(&mut client, produce_request("other", 0, batch(&["x"]))).await;
    let of_t = with_policy(StreamPurpose::Consume, "shout", &[], "stop");
    let stream = opened(&mut client, &of_t).await;

    let request = through(fetch_request_of("other", &[(0, 0)]), stream);
    let data = fetch(&mut client, &request).await;

    assert_eq!(data.error_code, 20002);
    let failure = tags::stream_failure(&data.unknown_tagged_fields).unwrap();
    assert!(failure.message.contains("of topic `t`"), "{failure}");
}

#[tokio::test]
async fn a_produce_leaves_out_what_a_step_skips() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let skipping = with_policy(
        StreamPurpose::Produce,
        "picky",
        &[("refuse", "bad")],
        "skip",
    );
    let stream = opened(&mut client, &skipping).await;
    let options = BatchOptions {
        producer_id: ProducerId(4000),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let request = produced_through(stream, batch_with(options, &["good", "bad", "better"]));

    let first = produce_to(&mut client, request.clone()).await;
    let again = produce_to(&mut client, request).await;

    assert_eq!((first.error_code, first.base_offset), (0, 0));
    let expected = [("picky".to_owned(), 1, 0)];
    assert_eq!(counts(&first.unknown_tagged_fields), expected);
    // Not run a second time, as the log has the batch.
    assert_eq!((again.error_code, again.base_offset), (0, 0));
    assert!(counts(&again.unknown_tagged_fields).is_empty());
    let data = fetch(&mut client, &fetch_request(0)).await;
    assert_eq!(values_of(&data), ["good", "better"]);
}

#[tokio::test]
async fn a_stream_of_version_0_ends_at_the_first_failure() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["fail"])).await;
    let request = open_request(StreamPurpose::Consume, "moody", &[]);
    assert_eq!(request.steps[0].on_error, OnError::Stop);
    let stream = client.call(&request, 0).await.stream_id;

    let data = fetch(&mut client, &through(fetch_request(0), stream)).await;

    assert_eq!(data.error_code, 20000);
}
