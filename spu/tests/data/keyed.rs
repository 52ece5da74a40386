//! Aggregates by key: what changed comes with each answer, and all of it goes on elsewhere.

use std::collections::BTreeMap;

use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_wire::messages::FetchRequest;
use thalweg_wire::messages::fetch_response::PartitionData;
use thalweg_wire::{Bytes, KeyedAccumulators, StreamId, StreamPurpose, tags};

use crate::client::RawClient;
use crate::failed_records::opened;
use crate::setup::{TestSpu, fetch, fetch_request, produce, values_of};
use crate::streams::{open_request, refused, resume, through};

type ByKey = BTreeMap<String, String>;

fn keyed(records: &[(&str, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, value) in records {
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder
            .push(1_000, key, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap().into()
}

async fn open_sums(client: &mut RawClient) -> StreamId {
    let mut request = open_request(StreamPurpose::Consume, "sum", &[]);
    request.is_by_key = true;
    request.accumulator = Some(Bytes::from_static(b"100"));
    opened(client, &request).await
}

fn with_accumulators(mut request: FetchRequest, by_key: &ByKey) -> FetchRequest {
    let accumulators: KeyedAccumulators = by_key
        .iter()
        .map(|(key, value)| {
            let key = (!key.is_empty()).then(|| Bytes::from(key.clone()));
            (key, Bytes::from(value.clone()))
        })
        .collect();
    let partition = &mut request.topics[0].partitions[0];
    tags::set_keyed_accumulators(&mut partition.unknown_tagged_fields, &accumulators);
    request
}

fn changed(data: &PartitionData) -> ByKey {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    tags::keyed_accumulators(&data.unknown_tagged_fields)
        .unwrap()
        .unwrap_or_default()
        .into_iter()
        .map(|(key, value)| (key.map(text).unwrap_or_default(), text(value)))
        .collect()
}

fn by_key(pairs: &[(&str, &str)]) -> ByKey {
    let pairs = pairs.iter();
    pairs
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn an_answer_tells_what_changed_and_another_connection_goes_on_with_all() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(
        &mut client,
        keyed(&[("a", "1"), ("b", "2"), ("", "5"), ("a", "3")]),
    )
    .await;
    produce(&mut client, keyed(&[("b", "10")])).await;
    let stream = open_sums(&mut client).await;

    // No time at all: a batch at a time.
    let none = by_key(&[]);
    let first = through(with_accumulators(fetch_request(0), &none), stream);
    let first = fetch(&mut client, &first).await;
    assert_eq!(values_of(&first), ["101", "102", "105", "104"]);
    let mut known = changed(&first);
    assert_eq!(known, by_key(&[("a", "104"), ("b", "102"), ("", "105")]));
    let second = fetch(&mut client, &through(fetch_request(4), stream)).await;
    assert_eq!(values_of(&second), ["112"]);
    assert_eq!(changed(&second), by_key(&[("b", "112")]));
    known.extend(changed(&second));

    produce(&mut client, keyed(&[("a", "1"), ("b", "1"), ("c", "1")])).await;
    let mut other = spu.client().await;
    let stream = open_sums(&mut other).await;
    let third = through(with_accumulators(fetch_request(5), &known), stream);
    let third = fetch(&mut other, &third).await;
    assert_eq!(values_of(&third), ["105", "113", "101"]);
    assert_eq!(resume(&third), 8);
}

#[tokio::test]
async fn all_rounds_of_a_fetch_give_one_set_of_changes() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    for round in 0..20 {
        let key = if round % 2 == 0 { "even" } else { "odd" };
        produce(&mut client, keyed(&[(key, "1")])).await;
    }
    let stream = open_sums(&mut client).await;

    let request = with_accumulators(fetch_request(0), &by_key(&[]))
        .with_min_bytes(1 << 20)
        .with_max_wait_ms(5000);
    let data = fetch(&mut client, &through(request, stream)).await;

    assert_eq!(resume(&data), 20);
    assert_eq!(changed(&data), by_key(&[("even", "110"), ("odd", "110")]));
}

#[tokio::test]
async fn a_fetch_where_nothing_stands_must_bring_accumulators() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, keyed(&[("a", "1"), ("a", "2")])).await;
    let stream = open_sums(&mut client).await;

    let without = fetch(&mut client, &through(fetch_request(1), stream)).await;
    assert_eq!(without.error_code, 20004);
    let known = by_key(&[("a", "101")]);
    let with = through(with_accumulators(fetch_request(1), &known), stream);
    let with = fetch(&mut client, &with).await;
    assert_eq!(values_of(&with), ["103"]);
    let malformed = {
        let mut request = through(fetch_request(0), stream);
        let fields = &mut request.topics[0].partitions[0].unknown_tagged_fields;
        fields.insert(tags::KEYED_ACCUMULATORS_TAG, Bytes::from_static(&[9]));
        request
    };
    assert_eq!(fetch(&mut client, &malformed).await.error_code, 20002);
}

#[tokio::test]
async fn nothing_to_aggregate_by_key_is_refused() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let mut request = open_request(StreamPurpose::Consume, "shout", &[]);
    request.is_by_key = true;

    let response = refused(&mut client, &request).await;

    assert!(response.error_message.unwrap().contains("aggregate"));
}

#[tokio::test]
async fn a_stream_stops_where_the_client_does_so_that_its_accumulator_is_of_there() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    for value in ["1", "2", "3", "4"] {
        produce(&mut client, keyed(&[("k", value)])).await;
    }
    let request = open_request(StreamPurpose::Consume, "sum", &[]);
    let stream = opened(&mut client, &request).await;
    let until_3 = |from| {
        let mut request = through(fetch_request(from), stream)
            .with_min_bytes(1 << 20)
            .with_max_wait_ms(10_000);
        let fields = &mut request.topics[0].partitions[0].unknown_tagged_fields;
        tags::set_stop_offset(fields, thalweg_types::Offset(3));
        request
    };

    let data = fetch(&mut client, &until_3(0)).await;
    assert_eq!((values_of(&data).len(), resume(&data)), (3, 3));
    let accumulator = tags::accumulator(&data.unknown_tagged_fields);
    assert_eq!(accumulator.as_deref(), Some(&b"6"[..]));
    // Nothing is waited for behind it.
    let data = fetch(&mut client, &until_3(3)).await;
    assert_eq!(resume(&data), 3);
}
