//! Chains that belong to a topic, as plain producers meet them.

use thalweg_proto::v1::{ChainStep, SmartModuleKind};
use thalweg_record::BatchOptions;
use thalweg_types::{ProducerEpoch, ProducerId, sha256_hex};
use thalweg_wire::Bytes;
use thalweg_wire::messages::fetch_response::PartitionData;

use crate::client::RawClient;
use crate::dead_letters::{dead_letters, spu_with_failed};
use crate::failed_records::counts;
use crate::setup::{TestSpu, batch, batch_with, fetch, fetch_request, produce, values_of};
use crate::streams::module;

/// Kafka's numbers for the errors.
const INVALID_RECORD: i16 = 87;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// Registers the SDK's example of that name, whose bytes the SPU has already.
pub(crate) fn register(spu: &TestSpu, name: &str) {
    register_as(spu, name, SmartModuleKind::Filter);
}

/// The same, with what the controller says that the module is.
pub(crate) fn register_as(spu: &TestSpu, name: &str, kind: SmartModuleKind) {
    let wasm = module(name);
    let sha256 = sha256_hex(&wasm);
    let path = spu.dir.path().join("smartmodules");
    std::fs::write(path.join(&sha256).with_extension("wasm"), &wasm).unwrap();
    spu.script.register_module_as(name, &sha256, kind);
}

/// Gives topic `t` a chain of one step, and waits until the SPU has heard of it.
pub(crate) async fn attach(spu: &TestSpu, uses: &str, params: &[(&str, &str)], on_error: &str) {
    let params = params
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let step = ChainStep {
        uses: uses.to_owned(),
        params: params.collect(),
        look_back: None,
        on_error: on_error.to_owned(),
        aggregate: None,
    };
    spu.script.set_chain("t", vec![step]);
    heard(spu, 1).await;
}

pub(crate) async fn heard(spu: &TestSpu, steps: usize) {
    let topic = "t".parse().unwrap();
    let view = &spu.spu.context().view;
    let told = view.wait_for(|view| {
        let known = view.topic(&topic);
        known.is_some_and(|topic| topic.produce_chain.steps.len() == steps)
    });
    let wait = std::time::Duration::from_secs(20);
    assert!(tokio::time::timeout(wait, told).await.is_ok());
}

/// A batch of an idempotent producer.
fn sequenced(sequence: i32, values: &[&str]) -> Bytes {
    let options = BatchOptions {
        producer_id: ProducerId(7),
        producer_epoch: ProducerEpoch(0),
        base_sequence: sequence,
        ..BatchOptions::default()
    };
    batch_with(options, values)
}

async fn all(client: &mut RawClient) -> PartitionData {
    fetch(client, &fetch_request(0)).await
}

#[tokio::test]
async fn a_plain_producer_s_records_go_through_the_topic_s_chain() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    register(&spu, "contains");
    attach(&spu, "contains", &[("text", "needle")], "").await;

    let some = produce(&mut client, batch(&["needle", "hay"])).await;
    let none = produce(&mut client, batch(&["hay"])).await;
    let every = produce(&mut client, batch(&["a needle", "needles"])).await;

    assert_eq!(
        values_of(&all(&mut client).await),
        ["needle", "a needle", "needles"]
    );
    // Clients count on from the base offset, which would be wrong where records are missing.
    let answered = [some, none, every].map(|answer| (answer.error_code, answer.base_offset));
    assert_eq!(answered, [(0, -1), (0, -1), (0, 1)]);

    spu.script.set_chain("t", Vec::new());
    heard(&spu, 0).await;
    produce(&mut client, batch(&["hay"])).await;
    assert_eq!(values_of(&all(&mut client).await).len(), 4);
}

#[tokio::test]
async fn a_record_that_fails_refuses_its_batch_in_kafkas_words() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    register(&spu, "moody");
    attach(&spu, "moody@1.0.0", &[], "stop").await;

    let failed = produce(&mut client, batch(&["fine", "fail"])).await;
    let after = produce(&mut client, batch(&["good"])).await;

    assert_eq!(failed.error_code, INVALID_RECORD);
    let message = failed.error_message.unwrap();
    assert!(message.contains("moody@1.0.0"), "{message}");
    let of_record = &failed.record_errors[0];
    assert_eq!(of_record.batch_index, 1);
    let words = of_record.batch_index_error_message.as_ref().unwrap();
    assert!(words.contains("in no mood"), "{words}");
    assert_eq!((after.error_code, after.base_offset), (0, 0));
    assert_eq!(values_of(&all(&mut client).await), ["good"]);
}

#[tokio::test]
async fn a_batch_that_is_sent_again_is_not_run_again() {
    let spu = spu_with_failed(&[]).await;
    let mut client = spu.client().await;
    register(&spu, "moody");
    attach(&spu, "moody", &[], "dead_letter:failed").await;

    let first = produce(&mut client, sequenced(0, &["fine", "fail"])).await;
    let again = produce(&mut client, sequenced(0, &["fine", "fail"])).await;
    let next = produce(&mut client, sequenced(2, &["good"])).await;
    let gap = produce(&mut client, sequenced(7, &["fail"])).await;

    assert_eq!(
        counts(&first.unknown_tagged_fields),
        [("moody@1.0.0".to_owned(), 0, 1)]
    );
    let codes = [first, again, next, gap].map(|answer| answer.error_code);
    assert_eq!(codes, [0, 0, 0, 45]);
    assert_eq!(values_of(&all(&mut client).await), ["fine", "good"]);
    let letters = dead_letters(&mut client).await;
    assert_eq!(values_of(&letters), ["fail"]);
}

#[tokio::test]
async fn a_chain_whose_bytes_can_not_be_had_is_worth_a_retry() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    spu.script
        .register_module("lost", &sha256_hex(b"nobody has them"));
    attach(&spu, "lost", &[], "").await;

    let first = produce(&mut client, batch(&["a"])).await;
    let second = produce(&mut client, batch(&["a"])).await;

    for answer in [first, second] {
        assert_eq!(answer.error_code, KAFKA_STORAGE_ERROR);
        let message = answer.error_message.unwrap();
        assert!(message.contains("`lost@1.0.0`"), "{message}");
        assert!(message.contains("can't be had now"), "{message}");
    }
    spu.script.set_chain("t", Vec::new());
    heard(&spu, 0).await;
    assert_eq!(produce(&mut client, batch(&["a"])).await.error_code, 0);
}

#[tokio::test]
async fn parameters_that_a_module_refuses_are_told_to_those_who_produce() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    register(&spu, "contains");
    attach(&spu, "contains", &[("word", "needle")], "").await;

    let refused = produce(&mut client, batch(&["a"])).await;

    assert_eq!(refused.error_code, INVALID_RECORD);
    let message = refused.error_message.unwrap();
    assert!(message.contains("the chain of topic `t`"), "{message}");
}
