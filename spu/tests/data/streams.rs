//! SmartModules on consume and produce, over the wire.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_types::{Offset, ProducerEpoch, ProducerId};
use thalweg_wire::messages::FetchRequest;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{
    Bytes, CloseStreamRequest, ModuleSource, OpenStreamRequest, OpenStreamResponse, StreamId,
    StreamPurpose, StreamStep, tags,
};

use crate::client::RawClient;
use crate::setup::{
    TestSpu, batch, batch_with, fetch, fetch_request, fetch_request_of, produce, produce_request,
    produce_to, records_of, values_of,
};

/// The bytes of one of the SDK's example SmartModules.
pub(crate) fn module(name: &str) -> Bytes {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let built = Command::new(env!("CARGO"))
            .current_dir(&workspace)
            .args([
                "build",
                "--quiet",
                "--examples",
                "--package",
                "thalweg-smartmodule",
            ])
            .args([
                "--target",
                "wasm32-unknown-unknown",
                "--profile",
                "smartmodule",
            ])
            .status()
            .unwrap();
        assert!(built.success(), "the SDK's examples do not build");
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.join("target"), PathBuf::from);
        target.join("wasm32-unknown-unknown/smartmodule/examples")
    });
    std::fs::read(directory.join(name).with_extension("wasm"))
        .unwrap()
        .into()
}

pub(crate) fn open_request(
    purpose: StreamPurpose,
    name: &str,
    params: &[(&str, &str)],
) -> OpenStreamRequest {
    let params = params
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let mut step = StreamStep::new(name, ModuleSource::Wasm(module(name)));
    step.params = params.collect();
    OpenStreamRequest::new(purpose, vec![step])
}

pub(crate) async fn open(
    client: &mut RawClient,
    purpose: StreamPurpose,
    name: &str,
    params: &[(&str, &str)],
) -> StreamId {
    let response = client.call(&open_request(purpose, name, params), 1).await;
    assert_eq!(response.error_code, 0, "{:?}", response.error_message);
    response.stream_id
}

pub(crate) async fn refused(
    client: &mut RawClient,
    request: &OpenStreamRequest,
) -> OpenStreamResponse {
    let response = client.call(request, 1).await;
    assert_eq!(response.stream_id, StreamId(-1));
    assert!(response.error_message.is_some());
    response
}

pub(crate) fn through(mut request: FetchRequest, stream: StreamId) -> FetchRequest {
    for partition in request
        .topics
        .iter_mut()
        .flat_map(|topic| &mut topic.partitions)
    {
        tags::set_stream_id(&mut partition.unknown_tagged_fields, stream);
    }
    request
}

pub(crate) fn resume(data: &PartitionData) -> i64 {
    tags::resume_offset(&data.unknown_tagged_fields).unwrap().0
}

pub(crate) fn accumulator(data: &PartitionData) -> Option<Bytes> {
    tags::accumulator(&data.unknown_tagged_fields)
}

#[tokio::test]
async fn a_filter_gives_what_passes_with_its_offsets_and_says_where_to_go_on() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a needle", "hay", "needles"])).await;
    produce(&mut client, batch(&["hay", "hay"])).await;
    let stream = open(
        &mut client,
        StreamPurpose::Consume,
        "contains",
        &[("text", "needle")],
    )
    .await;

    let request = through(fetch_request(0), stream)
        .with_max_wait_ms(5000)
        .with_min_bytes(1000);
    let data = fetch(&mut client, &request).await;

    let expected = [(0, "a needle".to_owned()), (2, "needles".to_owned())];
    assert_eq!(records_of(&data), expected);
    assert_eq!(
        (data.error_code, resume(&data), data.high_watermark),
        (0, 5, 5)
    );
}

#[tokio::test]
async fn a_filter_that_passes_nothing_still_comes_to_the_end() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let values: Vec<_> = (0..2000)
        .map(|index| format!("hay number {index}"))
        .collect();
    let values: Vec<_> = values.iter().map(String::as_str).collect();
    for _ in 0..50 {
        produce(&mut client, batch(&values)).await;
    }
    let stream = open(
        &mut client,
        StreamPurpose::Consume,
        "contains",
        &[("text", "needle")],
    )
    .await;
    let mut offset = 0;
    let mut fetches = 0;

    while offset < 100_000 {
        let request = through(fetch_request(offset), stream).with_max_wait_ms(5000);
        let data = fetch(&mut client, &request).await;
        assert!(records_of(&data).is_empty());
        assert!(resume(&data) > offset, "every answer is a step forward");
        offset = resume(&data);
        fetches += 1;
    }

    assert_eq!(offset, 100_000);
    assert!(
        fetches <= 3,
        "{fetches} fetches, though there was time for all in one"
    );
}

#[tokio::test]
async fn a_fetch_whose_time_is_up_says_how_far_it_has_come() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    for _ in 0..3 {
        produce(&mut client, batch(&["hay", "hay"])).await;
    }
    let stream = open(
        &mut client,
        StreamPurpose::Consume,
        "contains",
        &[("text", "needle")],
    )
    .await;
    let mut seen = Vec::new();
    let mut offset = 0;

    // No time at all: a batch at a time.
    while offset < 6 {
        let data = fetch(&mut client, &through(fetch_request(offset), stream)).await;
        offset = resume(&data);
        seen.push(offset);
    }

    assert_eq!(seen, [2, 4, 6]);
}

#[tokio::test]
async fn nothing_is_skipped_or_seen_twice_however_small_the_answers() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let values: Vec<_> = (0..300).map(|index| format!("needle {index}")).collect();
    for values in values.chunks(7) {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        produce(&mut client, batch(&values)).await;
    }
    let stream = open(
        &mut client,
        StreamPurpose::Consume,
        "contains",
        &[("text", "needle")],
    )
    .await;
    let mut seen = Vec::new();
    let mut offset = 0;

    while offset < 300 {
        let request = through(fetch_request(offset), stream)
            .with_max_bytes(1)
            .with_max_wait_ms(1000);
        let data = fetch(&mut client, &request).await;
        seen.extend(values_of(&data));
        offset = resume(&data);
    }

    assert_eq!(seen, values);
}

#[tokio::test]
async fn a_waiting_stream_hears_of_new_records() {
    let spu = TestSpu::start().await;
    let (mut client, mut producer) = (spu.client().await, spu.client().await);
    let stream = open(&mut client, StreamPurpose::Consume, "shout", &[]).await;
    let id = client
        .send(
            &through(fetch_request(0), stream).with_max_wait_ms(15_000),
            12,
        )
        .await;

    produce(&mut producer, batch(&["quiet"])).await;

    let response = client.receive::<FetchRequest>(id, 12).await;
    assert_eq!(values_of(&response.responses[0].partitions[0]), ["QUIET"]);
}

#[tokio::test]
async fn an_aggregate_goes_on_where_it_stands_and_elsewhere_with_what_it_is_given() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["1", "2"])).await;
    produce(&mut client, batch(&["3"])).await;
    let stream = open(&mut client, StreamPurpose::Consume, "sum", &[]).await;

    let first = fetch(&mut client, &through(fetch_request(0), stream)).await;
    assert_eq!(values_of(&first), ["1", "3"]);
    assert_eq!(accumulator(&first).as_deref(), Some(&b"3"[..]));
    let second = fetch(&mut client, &through(fetch_request(resume(&first)), stream)).await;
    assert_eq!(values_of(&second), ["6"]);

    // Back to the beginning: as if nothing had been.
    let again = fetch(&mut client, &through(fetch_request(0), stream)).await;
    assert_eq!(values_of(&again), ["1", "3"]);

    // Another connection goes on with the accumulator that this one was told.
    let mut other = spu.client().await;
    let stream = open(&mut other, StreamPurpose::Consume, "sum", &[]).await;
    let mut request = through(fetch_request(2), stream);
    let fields = &mut request.topics[0].partitions[0].unknown_tagged_fields;
    tags::set_accumulator(fields, Bytes::from_static(b"3"));
    assert_eq!(values_of(&fetch(&mut other, &request).await), ["6"]);
}

#[tokio::test]
async fn partitions_do_not_share_an_accumulator() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    for (partition, value) in [(0, "10"), (1, "1")] {
        produce_to(
            &mut client,
            produce_request("t", partition, batch(&[value])),
        )
        .await;
    }
    let stream = open(&mut client, StreamPurpose::Consume, "sum", &[]).await;

    let request = through(fetch_request_of("t", &[(0, 0), (1, 0)]), stream);
    let response = client.call(&request, 12).await;

    let partitions = &response.responses[0].partitions;
    assert_eq!(values_of(&partitions[0]), ["10"]);
    assert_eq!(values_of(&partitions[1]), ["1"]);
}

#[tokio::test]
async fn a_failing_record_is_named_after_those_before_it_were_given() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["fine", "good", "fail", "never"])).await;
    let stream = open(&mut client, StreamPurpose::Consume, "moody", &[]).await;

    let first = fetch(&mut client, &through(fetch_request(0), stream)).await;
    assert_eq!(values_of(&first), ["fine", "good"]);
    assert_eq!((first.error_code, resume(&first)), (0, 2));

    // However often it is asked: the same answer.
    for _ in 0..2 {
        let failed = fetch(&mut client, &through(fetch_request(2), stream)).await;
        assert_eq!(failed.error_code, 20000);
        assert_eq!(resume(&failed), 2);
        let failure = tags::stream_failure(&failed.unknown_tagged_fields).unwrap();
        assert_eq!(
            (failure.step.as_str(), failure.offset),
            ("moody", Some(Offset(2)))
        );
        assert!(
            failure.message.contains("in no mood for offset 2"),
            "{failure}"
        );
    }
    let beyond = fetch(&mut client, &through(fetch_request(3), stream)).await;
    assert_eq!(values_of(&beyond), ["never"]);
}

#[tokio::test]
async fn guests_that_panic_or_loop_fail_their_fetch_alone() {
    let spu = TestSpu::start_with(&["--smartmodule-deadline=200ms"]).await;
    spu.create_topic("t", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    for value in ["panic", "loop"] {
        produce(&mut client, batch(&[value])).await;
    }
    let stream = open(&mut client, StreamPurpose::Consume, "moody", &[]).await;

    for (offset, expected) in [(0, "in a panic at offset 0"), (1, "200 ms")] {
        let failed = fetch(&mut client, &through(fetch_request(offset), stream)).await;
        assert_eq!(failed.error_code, 20000);
        let failure = tags::stream_failure(&failed.unknown_tagged_fields).unwrap();
        assert!(failure.to_string().contains(expected), "{failure}");
    }
    assert_eq!(
        values_of(&fetch(&mut client, &fetch_request(0)).await).len(),
        2
    );
}

#[tokio::test]
async fn a_panic_is_told_with_its_record_after_those_before_it() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, value) in [(None, "a"), (Some(&b"k"[..]), "panic"), (None, "b")] {
        let value = Some(value.as_bytes());
        builder.push(1_000, key, value, &[]).unwrap();
    }
    produce(&mut client, builder.build().unwrap().into()).await;
    let stream = open(&mut client, StreamPurpose::Consume, "moody", &[]).await;

    let before = fetch(&mut client, &through(fetch_request(0), stream)).await;
    let ended = fetch(&mut client, &through(fetch_request(1), stream)).await;

    assert_eq!(values_of(&before), ["a"]);
    assert_eq!((before.error_code, resume(&before)), (0, 1));
    assert_eq!(ended.error_code, 20000);
    let failure = tags::stream_failure(&ended.unknown_tagged_fields).unwrap();
    assert_eq!(failure.offset, Some(Offset(1)));
    assert_eq!(failure.key.as_deref(), Some(&b"k"[..]));
    assert!(
        failure.message.contains("in a panic at offset 1"),
        "{failure}"
    );
}

#[tokio::test]
async fn what_is_no_module_is_refused_when_the_stream_opens() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let with = |source| {
        let steps = vec![StreamStep::new("bad", source)];
        OpenStreamRequest::new(StreamPurpose::Consume, steps)
    };

    let garbage = with(ModuleSource::Wasm(Bytes::from_static(b"not wasm")));
    assert_eq!(refused(&mut client, &garbage).await.error_code, 20002);
    let empty = with(ModuleSource::Wasm(Bytes::from_static(b"\0asm\x01\0\0\0")));
    assert_eq!(refused(&mut client, &empty).await.error_code, 20002);
    let unknown = with(ModuleSource::Registered("nobody".to_owned()));
    let unknown = refused(&mut client, &unknown).await;
    assert!(unknown.error_message.unwrap().contains("`nobody`"));
    let without_params = open_request(StreamPurpose::Consume, "contains", &[]);
    let without_params = refused(&mut client, &without_params).await;
    assert!(without_params.error_message.unwrap().contains("text"));
    let no_steps = OpenStreamRequest::new(StreamPurpose::Consume, Vec::new());
    assert_eq!(refused(&mut client, &no_steps).await.error_code, 20002);
}

#[tokio::test]
async fn a_closed_stream_is_unknown() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["x"])).await;
    let stream_id = open(&mut client, StreamPurpose::Consume, "shout", &[]).await;

    let closed = client.call(&CloseStreamRequest { stream_id }, 0).await;
    let again = client.call(&CloseStreamRequest { stream_id }, 0).await;
    let data = fetch(&mut client, &through(fetch_request(0), stream_id)).await;

    assert_eq!(
        (closed.error_code, again.error_code, data.error_code),
        (0, 20001, 20001)
    );
}

#[tokio::test]
async fn a_produce_stream_changes_what_is_appended() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let through_produce = |stream, records| {
        let mut request = produce_request("t", 0, records);
        let partition = &mut request.topic_data[0].partition_data[0];
        tags::set_stream_id(&mut partition.unknown_tagged_fields, stream);
        request
    };
    let numbers = open(&mut client, StreamPurpose::Produce, "numbers", &[]).await;
    let repeat = open(&mut client, StreamPurpose::Produce, "repeat", &[]).await;
    let sequenced = |base_sequence, values: &[&str]| {
        let options = BatchOptions {
            producer_id: ProducerId(4000),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            ..BatchOptions::default()
        };
        batch_with(options, values)
    };

    let some = through_produce(numbers, sequenced(0, &["x", "1", "y", "2"]));
    assert_eq!(produce_to(&mut client, some.clone()).await.base_offset, 0);
    let none = through_produce(numbers, sequenced(4, &["no", "number"]));
    assert_eq!(produce_to(&mut client, none).await.error_code, 0);
    let more = through_produce(repeat, sequenced(6, &["3"]));
    // The batch of which nothing was left has an offset, as it says how far the producer counted.
    assert_eq!(produce_to(&mut client, more).await.base_offset, 3);
    // A retry of the first is known, although it became another batch.
    assert_eq!(produce_to(&mut client, some).await.base_offset, 0);

    let expected = ["1", "2", "3", "3"].map(str::to_owned);
    let data = fetch(&mut client, &fetch_request(0)).await;
    assert_eq!(values_of(&data), expected);
    let offsets: Vec<_> = records_of(&data)
        .into_iter()
        .map(|(offset, _)| offset)
        .collect();
    assert_eq!(offsets, [0, 1, 3, 4]);
}

#[tokio::test]
async fn a_produce_that_a_module_refuses_appends_nothing() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let params = [("refuse", "bad")];
    let stream = open(&mut client, StreamPurpose::Produce, "picky", &params).await;
    let mut request = produce_request("t", 0, batch(&["good", "bad"]));
    let partition = &mut request.topic_data[0].partition_data[0];
    tags::set_stream_id(&mut partition.unknown_tagged_fields, stream);

    let refused = produce_to(&mut client, request).await;

    assert_eq!(refused.error_code, 20000);
    let failure = tags::stream_failure(&refused.unknown_tagged_fields).unwrap();
    assert!(failure.message.contains("`bad` is refused"), "{failure}");
    assert_eq!(produce(&mut client, batch(&["x"])).await.base_offset, 0);
}

#[tokio::test]
async fn quiet_streams_keep_no_memory_from_one_that_has_records() {
    // Enough for one answer of 1 MiB.
    let spu = TestSpu::start_with(&["--request-memory-bytes=1MiB"]).await;
    for topic in ["t", "quiet"] {
        spu.create_topic(topic, 1, &[("durability", "memory")])
            .await;
    }
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut client = spu.client().await;
        let stream = open(&mut client, StreamPurpose::Consume, "moody", &[]).await;
        let request = through(fetch_request_of("quiet", &[(0, 0)]), stream);
        client.send(&request.with_max_wait_ms(60_000), 12).await;
        waiting.push(client);
    }
    let mut client = spu.client().await;
    produce(&mut client, batch(&["news"])).await;
    let stream = open(
        &mut client,
        StreamPurpose::Consume,
        "contains",
        &[("text", "news")],
    )
    .await;

    let request = through(fetch_request(0), stream).with_max_wait_ms(60_000);
    let data = fetch(&mut client, &request).await;

    assert_eq!(values_of(&data), ["news"]);
}
