//! Records that a SmartModule fails on, in a topic of their own.

use thalweg_record::{BatchBuilder, BatchOptions, Header};
use thalweg_types::{ProducerEpoch, ProducerId};
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{Bytes, StreamPurpose, tags};

use crate::client::RawClient;
use crate::failed_records::{counts, opened, produced_through, with_policy};
use crate::setup::{
    TestSpu, batch, batch_with, fetch, fetch_request, fetch_request_of, produce, produce_to,
    values_of,
};
use crate::streams::{refused, resume, through};

pub(crate) const TO_FAILED: &str = "dead_letter:failed";

pub(crate) async fn spu_with_failed(config: &[(&str, &str)]) -> TestSpu {
    let spu = TestSpu::start().await;
    let mut all = vec![("durability", "memory")];
    all.extend(config);
    spu.create_topic("failed", 1, &all).await;
    announce(&spu).await;
    spu
}

/// Tells the SPU its own address: dead letters travel as any producer's records do, to the leader.
pub(crate) async fn announce(spu: &TestSpu) {
    spu.script.announce_spu(spu.address());
    let view = &spu.spu.context().view;
    let told = view.wait_for(|view| view.online_spus().next().is_some());
    let wait = std::time::Duration::from_secs(20);
    assert!(tokio::time::timeout(wait, told).await.is_ok());
}

pub(crate) async fn dead_letters(client: &mut RawClient) -> PartitionData {
    fetch(client, &fetch_request_of("failed", &[(0, 0)])).await
}

/// The headers of each record.
fn headers_of(data: &PartitionData) -> Vec<Vec<(String, String)>> {
    let bytes = data.records.clone().unwrap_or_default();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut all = Vec::new();
    for batch in thalweg_record::batches(&bytes) {
        for record in &batch.unwrap().records(1 << 24).unwrap() {
            let headers = record.unwrap().headers;
            let pairs = headers
                .iter()
                .map(|header| (text(header.key), text(header.value.unwrap_or_default())));
            all.push(pairs.collect());
        }
    }
    all
}

#[tokio::test]
async fn a_dead_letter_is_the_record_as_it_was_with_where_from_and_why() {
    let spu = spu_with_failed(&[]).await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["fine"])).await;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    let own = [Header::new("trace", b"17")];
    builder
        .push(5_000, Some(b"k"), Some(b"fail"), &own)
        .unwrap();
    produce(&mut client, builder.build().unwrap().into()).await;
    let request = with_policy(StreamPurpose::Consume, "moody", &[], TO_FAILED);
    let stream = opened(&mut client, &request).await;

    let request = through(fetch_request(0), stream)
        .with_max_wait_ms(5000)
        .with_min_bytes(1000);
    let data = fetch(&mut client, &request).await;

    assert_eq!(
        (values_of(&data), resume(&data)),
        (vec!["fine".to_owned()], 2)
    );
    let expected = [("moody".to_owned(), 0, 1)];
    assert_eq!(counts(&data.unknown_tagged_fields), expected);
    // It was acknowledged before the answer.
    let letters = dead_letters(&mut client).await;
    assert_eq!(values_of(&letters), ["fail"]);
    let headers = headers_of(&letters).remove(0);
    let version = headers[5].1.clone();
    let expected = [
        ("trace", "17"),
        ("thalweg.source.topic", "t"),
        ("thalweg.source.partition", "0"),
        ("thalweg.source.offset", "1"),
        ("thalweg.module", "moody"),
        ("thalweg.version", version.as_str()),
        ("thalweg.error", "in no mood for offset 1"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(headers, expected);
    assert_eq!(version.len(), 64, "the hash of the module: {version}");
    let bytes = letters.records.unwrap();
    let batch = thalweg_record::batches(&bytes).next().unwrap().unwrap();
    let records = batch.records(1 << 20).unwrap();
    let record = records.into_iter().next().unwrap().unwrap();
    assert_eq!((record.timestamp_ms, record.key), (5_000, Some(&b"k"[..])));
}

#[tokio::test]
async fn many_dead_letters_keep_their_order_and_are_all_there() {
    let spu = spu_with_failed(&[("compression.type", "zstd")]).await;
    let mut client = spu.client().await;
    let filler = "x".repeat(100);
    let values: Vec<_> = (0..2_000)
        .map(|index| {
            if index % 2 == 0 {
                "fail"
            } else {
                filler.as_str()
            }
        })
        .collect();
    for values in values.chunks(500) {
        produce(&mut client, batch(values)).await;
    }
    let request = with_policy(StreamPurpose::Consume, "moody", &[], TO_FAILED);
    let stream = opened(&mut client, &request).await;

    let (mut offset, mut kept) = (0, 0);
    while offset < 2_000 {
        let request = through(fetch_request(offset), stream).with_max_wait_ms(1000);
        let data = fetch(&mut client, &request).await;
        assert_eq!(data.error_code, 0);
        kept += values_of(&data).len();
        offset = resume(&data);
    }

    let mut offsets = Vec::new();
    let mut from = 0;
    while offsets.len() < 1_000 {
        let letters = fetch(&mut client, &fetch_request_of("failed", &[(0, from)])).await;
        let headers = headers_of(&letters);
        assert!(!headers.is_empty(), "{} of 1000 are there", offsets.len());
        from += i64::try_from(headers.len()).unwrap();
        offsets.extend(headers.iter().map(|headers| headers[2].1.clone()));
    }
    let expected: Vec<_> = (0..2_000).step_by(2).map(|at| at.to_string()).collect();
    assert_eq!((kept, offsets), (1_000, expected));
}

#[tokio::test]
async fn a_dead_letter_that_its_topic_refuses_ends_the_stream_where_it_was() {
    let spu = spu_with_failed(&[("max.message.bytes", "1024")]).await;
    let mut client = spu.client().await;
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, None, Some(b"fine"), &[]).unwrap();
    builder
        .push(0, Some(&[7; 1000]), Some(b"fail"), &[])
        .unwrap();
    produce(&mut client, builder.build().unwrap().into()).await;
    let request = with_policy(StreamPurpose::Consume, "moody", &[], TO_FAILED);
    let stream = opened(&mut client, &request).await;

    for _ in 0..2 {
        let data = fetch(&mut client, &through(fetch_request(0), stream)).await;

        assert_eq!((data.error_code, resume(&data)), (20000, 0));
        assert!(values_of(&data).is_empty());
        let failure = tags::stream_failure(&data.unknown_tagged_fields).unwrap();
        assert!(failure.message.contains("`max.message.bytes`"), "{failure}");
        assert!(failure.message.contains("`failed`"), "{failure}");
    }
}

#[tokio::test]
async fn a_topic_that_can_not_take_dead_letters_is_refused_when_the_stream_opens() {
    let spu = spu_with_failed(&[]).await;
    let mut client = spu.client().await;
    let to = |topic: &str| {
        let policy = format!("dead_letter:{topic}");
        with_policy(StreamPurpose::Consume, "moody", &[], &policy)
    };

    for (topic, expected) in [
        ("nowhere", "`thalweg topic create nowhere`"),
        ("t", "choose another dead-letter topic"),
        ("__smartmodules", "choose another dead-letter topic"),
    ] {
        let response = refused(&mut client, &to(topic)).await;
        let message = response.error_message.unwrap();
        assert_eq!(response.error_code, 20002);
        assert!(message.contains(expected), "{message}");
    }
    let mut nameless = to("failed");
    nameless.topic = None;
    let response = refused(&mut client, &nameless).await;
    assert!(response.error_message.unwrap().contains("own topic"));
}

#[tokio::test]
async fn a_produce_has_its_dead_letters_once_however_often_it_is_sent() {
    let spu = spu_with_failed(&[]).await;
    let mut client = spu.client().await;
    let params = [("refuse", "bad")];
    let request = with_policy(StreamPurpose::Produce, "picky", &params, TO_FAILED);
    let stream = opened(&mut client, &request).await;
    let sequenced = |base_sequence, values: &[&str]| -> Bytes {
        let options = BatchOptions {
            producer_id: ProducerId(4000),
            producer_epoch: ProducerEpoch(0),
            base_sequence,
            ..BatchOptions::default()
        };
        batch_with(options, values)
    };
    let some = produced_through(stream, sequenced(0, &["good", "bad"]));
    let none = produced_through(stream, sequenced(2, &["bad", "bad"]));

    for _ in 0..3 {
        assert_eq!(produce_to(&mut client, some.clone()).await.base_offset, 0);
    }
    for _ in 0..3 {
        assert_eq!(produce_to(&mut client, none.clone()).await.error_code, 0);
    }

    let data = fetch(&mut client, &fetch_request(0)).await;
    assert_eq!(values_of(&data), ["good"]);
    let letters = dead_letters(&mut client).await;
    assert_eq!(values_of(&letters), ["bad", "bad", "bad"]);
    let names: Vec<_> = headers_of(&letters)[0]
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    assert!(
        !names.contains(&"thalweg.source.offset".to_owned()),
        "{names:?}"
    );
}
