//! Modules that go by what they have seen, before the log: it is what the log has, whatever fails.

use thalweg_proto::v1;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_types::{LookBack, ProducerEpoch, ProducerId};
use thalweg_wire::messages::ProduceRequest;
use thalweg_wire::messages::produce_response::PartitionProduceResponse;
use thalweg_wire::{Bytes, KeyedAccumulators, OpenStreamRequest, StreamId, StreamPurpose, tags};

use crate::client::RawClient;
use crate::failed_records::{opened, produced_through};
use crate::setup::{
    TestSpu, batch, batch_with, fetch, fetch_request, produce, produce_to, values_of,
};
use crate::streams::open_request;
use crate::topic_chains::{heard, register};

const INVALID_RECORD: i16 = 87;
const ACCUMULATORS_NEEDED: i16 = 20004;

fn sums(initial: &'static str, is_by_key: bool) -> OpenStreamRequest {
    let mut request = open_request(StreamPurpose::Produce, "sum", &[]);
    request.accumulator = Some(Bytes::from_static(initial.as_bytes()));
    request.is_by_key = is_by_key;
    request
}

/// A batch of an idempotent producer; an empty key stands for none.
fn keyed(producer_id: i64, sequence: i32, records: &[(&str, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions {
        producer_id: ProducerId(producer_id),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..BatchOptions::default()
    });
    for (key, value) in records {
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder
            .push(1_000, key, Some(value.as_bytes()), &[])
            .unwrap();
    }
    builder.build().unwrap().into()
}

/// Of one producer, without keys.
fn sequenced(sequence: i32, values: &[&str]) -> Bytes {
    batch_with(
        BatchOptions {
            producer_id: ProducerId(7),
            producer_epoch: ProducerEpoch(0),
            base_sequence: sequence,
            ..BatchOptions::default()
        },
        values,
    )
}

async fn kept(client: &mut RawClient) -> Vec<String> {
    values_of(&fetch(client, &fetch_request(0)).await)
}

/// Gives topic `t` one step with these settings.
async fn attach(spu: &TestSpu, step: v1::ChainStep) {
    register(spu, &step.uses);
    spu.script.set_chain("t", vec![step]);
    heard(spu, 1).await;
}

fn step(uses: &str) -> v1::ChainStep {
    v1::ChainStep {
        uses: uses.to_owned(),
        ..v1::ChainStep::default()
    }
}

fn summing(initial: &str, by_key: bool) -> v1::ChainStep {
    v1::ChainStep {
        aggregate: Some(v1::Aggregate {
            initial: initial.to_owned(),
            by_key,
            ..v1::Aggregate::default()
        }),
        ..step("sum")
    }
}

fn last(last: u64) -> LookBack {
    LookBack {
        last: Some(last),
        age_ms: None,
    }
}

fn accumulator(answer: &PartitionProduceResponse) -> Option<Bytes> {
    tags::accumulator(&answer.unknown_tagged_fields)
}

fn bringing(mut request: ProduceRequest, accumulator: &'static str) -> ProduceRequest {
    let fields = &mut request.topic_data[0].partition_data[0].unknown_tagged_fields;
    tags::set_accumulator(fields, Bytes::from_static(accumulator.as_bytes()));
    request
}

async fn send(
    client: &mut RawClient,
    stream: StreamId,
    records: Bytes,
) -> PartitionProduceResponse {
    produce_to(client, produced_through(stream, records)).await
}

#[tokio::test]
async fn a_producers_own_chain_looks_back_at_what_the_log_has() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a", "b", "c"])).await;
    let mut dedup = open_request(StreamPurpose::Produce, "dedup", &[]);
    dedup.steps[0].look_back = Some(last(2));
    let stream = opened(&mut client, &dedup).await;

    // `a` lies before the two that it is shown.
    for values in [["a", "b", "d"], ["c", "d", "e"]] {
        let answer = send(&mut client, stream, batch(&values)).await;
        assert_eq!(answer.error_code, 0);
    }

    assert_eq!(kept(&mut client).await.join(""), "abcade");
}

#[tokio::test]
async fn a_topics_chain_looks_back_at_what_the_log_has() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a", "b", "c"])).await;
    let look_back = v1::LookBack {
        last: Some(100),
        age_ms: None,
    };
    let dedup = v1::ChainStep {
        look_back: Some(look_back),
        ..step("dedup")
    };
    attach(&spu, dedup).await;
    let mut other = spu.client().await;

    produce(&mut client, batch(&["a", "d"])).await;
    produce(&mut other, batch(&["d", "b", "e"])).await;

    assert_eq!(kept(&mut client).await.join(""), "abcde");
}

#[tokio::test]
async fn what_a_look_back_can_not_see_refuses_the_batch_and_says_so() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    // The module can't look back at a tombstone.
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder.push(0, Some(b"k"), None, &[]).unwrap();
    produce(&mut client, builder.build().unwrap().into()).await;
    let look_back = v1::LookBack {
        last: Some(5),
        age_ms: None,
    };
    let dedup = v1::ChainStep {
        look_back: Some(look_back),
        ..step("dedup")
    };
    attach(&spu, dedup).await;

    for _ in 0..2 {
        let refused = produce(&mut client, batch(&["a"])).await;
        assert_eq!(refused.error_code, INVALID_RECORD);
        let message = refused.error_message.unwrap();
        assert!(message.contains("failed to look back"), "{message}");
    }
    spu.script.set_chain("t", Vec::new());
    heard(&spu, 0).await;
    assert_eq!(produce(&mut client, batch(&["a"])).await.error_code, 0);
}

#[tokio::test]
async fn a_topics_aggregate_goes_on_from_the_log_for_every_producer() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    attach(&spu, summing("100", false)).await;
    let mut other = spu.client().await;

    produce(&mut client, batch(&["1", "2"])).await;
    produce(&mut other, sequenced(0, &["3"])).await;
    let again = produce(&mut client, sequenced(0, &["3"])).await;
    // Of nothing but what the chain refuses.
    let refused = produce(&mut other, batch(&["4", "five"])).await;
    produce(&mut client, batch(&["5"])).await;

    assert_eq!((again.error_code, refused.error_code), (0, INVALID_RECORD));
    assert_eq!(kept(&mut client).await, ["101", "103", "106", "111"]);
    // Another version of the spec makes another chain, which has the log to go by.
    attach(&spu, summing("7", false)).await;
    let told = spu.spu.context().view.wait_for(|view| {
        let topic = view.topic(&"t".parse().unwrap()).unwrap();
        topic.produce_chain.steps[0]
            .aggregate
            .as_ref()
            .unwrap()
            .initial
            == "7"
    });
    told.await;
    produce(&mut client, batch(&["1"])).await;
    assert_eq!(kept(&mut client).await.last().unwrap(), "112");
}

#[tokio::test]
async fn a_batch_that_the_log_does_not_take_leaves_no_trace_in_a_topics_aggregate() {
    let spu = TestSpu::start_with(&[]).await;
    let config = [("durability", "memory"), ("cleanup.policy", "compact")];
    spu.create_topic("t", 1, &config).await;
    let mut client = spu.client().await;
    attach(&spu, summing("", true)).await;

    let first = keyed(1, 0, &[("a", "1"), ("b", "10"), ("a", "2")]);
    assert_eq!(produce(&mut client, first).await.error_code, 0);
    // A compacted topic keeps nothing without a key, which shows only behind the chain.
    for sequence in [0, 2] {
        let unkeyed = keyed(2, 0, &[("a", "500"), ("", "500")]);
        assert_eq!(
            produce(&mut client, unkeyed).await.error_code,
            INVALID_RECORD
        );
        let good = keyed(3, sequence, &[("b", "1"), ("a", "3")]);
        assert_eq!(produce(&mut client, good).await.error_code, 0);
    }

    let kept = kept(&mut client).await;
    assert_eq!(kept, ["1", "10", "3", "11", "6", "12", "9"]);
}

#[tokio::test]
async fn an_emptied_log_begins_anew() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    attach(&spu, summing("100", false)).await;
    produce(&mut client, batch(&["1"])).await;
    let topic = "t".parse().unwrap();
    let leader = spu
        .spu
        .context()
        .replicas
        .leader(&topic, thalweg_types::PartitionIndex(0), None);
    let log = std::sync::Arc::clone(leader.unwrap().log());

    tokio::task::spawn_blocking(move || log.delete_records_before(log.log_end()))
        .await
        .unwrap()
        .unwrap();
    produce(&mut client, batch(&["5"])).await;

    let data = fetch(&mut client, &fetch_request(1)).await;
    assert_eq!(values_of(&data), ["105"]);
}

#[tokio::test]
async fn a_producers_own_aggregate_tells_what_it_has_come_to_and_goes_on_elsewhere() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let stream = opened(&mut client, &sums("100", false)).await;

    let first = send(&mut client, stream, sequenced(0, &["1", "2"])).await;
    let second = send(&mut client, stream, sequenced(2, &["3"])).await;
    assert_eq!(accumulator(&first).as_deref(), Some(&b"103"[..]));
    assert_eq!(accumulator(&second).as_deref(), Some(&b"106"[..]));

    // The second answer is lost with the connection: the batch is sent again, on from the first.
    let mut client = spu.client().await;
    let stream = opened(&mut client, &sums("100", false)).await;
    let again = produced_through(stream, sequenced(2, &["3"]));
    let again = produce_to(&mut client, bringing(again, "103")).await;
    let next = send(&mut client, stream, sequenced(3, &["4"])).await;

    assert_eq!((again.error_code, again.base_offset), (0, 2));
    assert_eq!(accumulator(&again).as_deref(), Some(&b"106"[..]));
    assert_eq!(accumulator(&next).as_deref(), Some(&b"110"[..]));
    assert_eq!(kept(&mut client).await, ["101", "103", "106", "110"]);
}

#[tokio::test]
async fn a_producers_own_aggregate_that_failed_wants_to_know_where_to_go_on() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let stream = opened(&mut client, &sums("100", false)).await;
    send(&mut client, stream, sequenced(0, &["1"])).await;

    // In the middle of its batch, and in the log, behind the chain.
    let failed = send(&mut client, stream, sequenced(1, &["2", "two"])).await;
    let after = send(&mut client, stream, sequenced(1, &["2"])).await;
    assert_eq!(
        (failed.error_code, after.error_code),
        (20000, ACCUMULATORS_NEEDED)
    );
    let gap = bringing(produced_through(stream, sequenced(9, &["2"])), "101");
    let gap = produce_to(&mut client, gap).await;
    let after = send(&mut client, stream, sequenced(1, &["2"])).await;
    assert_eq!(
        (gap.error_code, after.error_code),
        (45, ACCUMULATORS_NEEDED)
    );

    let good = bringing(produced_through(stream, sequenced(1, &["2"])), "101");
    let good = produce_to(&mut client, good).await;
    assert_eq!(accumulator(&good).as_deref(), Some(&b"103"[..]));
    assert_eq!(kept(&mut client).await, ["101", "103"]);
}

#[tokio::test]
async fn a_producers_own_aggregate_by_key_tells_what_changed_and_takes_back_all() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let stream = opened(&mut client, &sums("", true)).await;
    let changed = |answer: &PartitionProduceResponse| {
        tags::keyed_accumulators(&answer.unknown_tagged_fields)
            .unwrap()
            .unwrap()
    };
    let known = |pairs: &[(&'static str, &'static str)]| -> KeyedAccumulators {
        let pairs = pairs.iter().map(|(key, value)| {
            let key = (!key.is_empty()).then(|| Bytes::from_static(key.as_bytes()));
            (key, Bytes::from_static(value.as_bytes()))
        });
        pairs.collect()
    };

    let first = keyed(7, 0, &[("a", "1"), ("", "5"), ("a", "2")]);
    let first = send(&mut client, stream, first).await;
    let second = send(&mut client, stream, keyed(7, 3, &[("b", "1")])).await;
    assert_eq!(changed(&first), known(&[("a", "3"), ("", "5")]));
    assert_eq!(changed(&second), known(&[("b", "1")]));

    let mut client = spu.client().await;
    let stream = opened(&mut client, &sums("", true)).await;
    let mut third = produced_through(stream, keyed(7, 4, &[("a", "1"), ("b", "1"), ("", "1")]));
    let fields = &mut third.topic_data[0].partition_data[0].unknown_tagged_fields;
    tags::set_keyed_accumulators(fields, &known(&[("a", "3"), ("b", "1"), ("", "5")]));
    let third = produce_to(&mut client, third).await;
    assert_eq!(changed(&third), known(&[("a", "4"), ("b", "2"), ("", "6")]));
    let mismatched = bringing(produced_through(stream, keyed(7, 7, &[("a", "1")])), "4");
    assert_eq!(produce_to(&mut client, mismatched).await.error_code, 20002);
}
