//! What a SmartModule is shown of before its stream.

use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_types::LookBack;
use thalweg_wire::{OpenStreamRequest, StreamPurpose, tags};

use crate::client::RawClient;
use crate::failed_records::opened;
use crate::setup::{TestSpu, batch, fetch, fetch_request, produce, values_of};
use crate::streams::{open_request, refused, resume, through};

fn looking_back(last: Option<u64>, age_ms: Option<u64>) -> OpenStreamRequest {
    let mut request = open_request(StreamPurpose::Consume, "dedup", &[]);
    request.steps[0].look_back = Some(LookBack { last, age_ms });
    request
}

/// All that comes of topic `t` from `from` on, however many answers it takes.
async fn read(client: &mut RawClient, request: &OpenStreamRequest, from: i64) -> Vec<String> {
    let stream = opened(client, request).await;
    let mut offset = from;
    let mut values = Vec::new();
    loop {
        let request = through(fetch_request(offset), stream).with_max_wait_ms(200);
        let data = fetch(client, &request).await;
        assert_eq!(data.error_code, 0);
        values.extend(values_of(&data));
        offset = resume(&data);
        if offset == data.high_watermark {
            return values;
        }
    }
}

#[tokio::test]
async fn the_last_records_before_the_start_are_shown() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a", "b", "c"])).await;
    produce(&mut client, batch(&["d", "a", "b", "c", "d", "e"])).await;

    // From offset 4, within a batch: `b`, `c` and `d` precede it.
    let last = |count| looking_back(Some(count), None);
    let mut seen = Vec::new();
    for count in 0..=4 {
        seen.push(read(&mut client, &last(count), 4).await.join(""));
    }

    assert_eq!(seen, ["abcde", "abce", "abe", "ae", "e"]);
}

#[tokio::test]
async fn records_that_are_too_old_are_not_shown() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    // The tests' batches are from 1970, a second after it began.
    produce(&mut client, batch(&["a", "b", "a", "b", "c"])).await;

    let an_hour = looking_back(None, Some(3_600_000));
    let forever = looking_back(None, Some(u64::MAX / 2));
    let either = looking_back(Some(1), Some(u64::MAX / 2));

    assert_eq!(read(&mut client, &an_hour, 2).await.join(""), "abc");
    assert_eq!(read(&mut client, &forever, 2).await.join(""), "c");
    assert_eq!(read(&mut client, &either, 2).await.join(""), "ac");
}

#[tokio::test]
async fn a_long_look_back_goes_over_segments_and_answers_and_reruns_elsewhere() {
    let spu = TestSpu::start_with(&[]).await;
    let config = [("durability", "memory"), ("segment.bytes", "100000")];
    spu.create_topic("t", 1, &config).await;
    let mut client = spu.client().await;
    let values: Vec<_> = (0..30_000).map(|index| format!("{index:0>100}")).collect();
    for values in values.chunks(500) {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        produce(&mut client, batch(&values)).await;
    }
    // All of it once more, and one that is new.
    for values in values.chunks(500) {
        let values: Vec<_> = values.iter().map(String::as_str).collect();
        produce(&mut client, batch(&values)).await;
    }
    produce(&mut client, batch(&["new"])).await;
    let request = looking_back(Some(30_000), None);

    // Without time to wait, each answer is one piece of it.
    let stream = opened(&mut client, &request).await;
    let mut answers_before_the_start = 0;
    loop {
        let data = fetch(&mut client, &through(fetch_request(30_000), stream)).await;
        if resume(&data) > 30_000 {
            assert!(values_of(&data).is_empty());
            break;
        }
        answers_before_the_start += 1;
    }
    assert!(answers_before_the_start > 2, "{answers_before_the_start}");
    for _ in 0..2 {
        let mut client = spu.client().await;
        assert_eq!(read(&mut client, &request, 30_000).await, ["new"]);
    }
}

#[tokio::test]
async fn a_look_back_that_fails_is_told_and_one_that_can_not_be_is_refused() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    // The module can't look back at a tombstone.
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, Some(b"k"), None, &[]).unwrap();
    builder.push(0, None, Some(b"good"), &[]).unwrap();
    produce(&mut client, builder.build().unwrap().into()).await;
    let stream = opened(&mut client, &looking_back(Some(5), None)).await;

    let data = fetch(&mut client, &through(fetch_request(1), stream)).await;
    assert_eq!((data.error_code, resume(&data)), (20000, 1));
    let failure = tags::stream_failure(&data.unknown_tagged_fields).unwrap();
    assert!(failure.message.contains("look back"), "{failure}");

    let mut blind = open_request(StreamPurpose::Consume, "shout", &[]);
    blind.steps[0].look_back = Some(LookBack {
        last: Some(5),
        age_ms: None,
    });
    refused(&mut client, &blind).await;
}
