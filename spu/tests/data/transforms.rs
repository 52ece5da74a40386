//! Transforms on one SPU: what they write, whatever happens to their inputs, their outputs and the SPU.

use std::collections::BTreeMap;

use thalweg_proto::v1;
use thalweg_record::{BatchBuilder, BatchOptions, ProgressMarker, batches};
use thalweg_spu::SpuOptions;
use thalweg_spu::replica::Replica;
use thalweg_types::OnError;
use thalweg_wire::Bytes;

use crate::dead_letters::announce;
use crate::harness::{append, leader, options, try_leader, try_start, until, until_told, values};
use crate::setup::{TestSpu, batch, produce_request, produce_to};
use crate::topic_chains::register;

const SKIP: OnError = OnError::Skip;

/// An SPU with a topic `t` of `inputs` partitions and one topic for each of `outputs`.
async fn spu_with(inputs: i32, outputs: &[(&str, i32)]) -> TestSpu {
    spu_with_flags(&[], inputs, outputs).await
}

/// The same, started with these flags.
pub(crate) async fn spu_with_flags(
    flags: &[&str],
    inputs: i32,
    outputs: &[(&str, i32)],
) -> TestSpu {
    let spu = TestSpu::start_with(flags).await;
    spu.create_topic("t", inputs, &[("durability", "memory")])
        .await;
    for (name, partitions) in outputs {
        spu.create_topic(name, *partitions, &[("durability", "memory")])
            .await;
    }
    announce(&spu).await;
    spu
}

/// A transform of topic `t` that runs one module.
pub(crate) fn transform(uses: &str, outputs: &[&str]) -> v1::Transform {
    v1::Transform {
        name: "tr".to_owned(),
        number: 3,
        backfill_number: None,
        spec: Some(v1::TransformSpec {
            inputs: vec!["t".to_owned()],
            outputs: outputs.iter().map(|name| (*name).to_owned()).collect(),
            chain: Some(v1::ChainSpec {
                steps: vec![v1::ChainStep {
                    uses: uses.to_owned(),
                    ..v1::ChainStep::default()
                }],
            }),
            ..v1::TransformSpec::default()
        }),
        status: Some(v1::TransformStatus {
            state: v1::TransformState::Running.into(),
            reason: String::new(),
            history: Vec::new(),
        }),
        version: 1,
    }
}

pub(crate) fn with_param(mut transform: v1::Transform, name: &str, value: &str) -> v1::Transform {
    let step = &mut transform
        .spec
        .as_mut()
        .unwrap()
        .chain
        .as_mut()
        .unwrap()
        .steps[0];
    step.params.insert(name.to_owned(), value.to_owned());
    transform
}

pub(crate) fn on_error(mut transform: v1::Transform, policy: &OnError) -> v1::Transform {
    let step = &mut transform
        .spec
        .as_mut()
        .unwrap()
        .chain
        .as_mut()
        .unwrap()
        .steps[0];
    step.on_error = policy.to_string();
    transform
}

/// Waits until a partition of a topic has so many records, and gives their values.
pub(crate) async fn written(
    spu: &TestSpu,
    name: &str,
    partition: i32,
    count: usize,
) -> Vec<String> {
    until("the transform has written", || {
        // Another one may lead meanwhile.
        let replica = try_leader(&spu.spu, name, partition).ok()?;
        let values = values(&replica);
        (values.len() >= count).then_some(values)
    })
    .await
}

pub(crate) async fn produced(spu: &TestSpu, partition: i32, values: &[&str]) {
    let replica = leader(&spu.spu, "t", partition).await;
    append(&replica, values).await.unwrap();
}

/// In which epoch the transform writes a topic's first partition.
async fn epoch(spu: &TestSpu, name: &str) -> Option<i16> {
    known_epoch(&*leader(&spu.spu, name, 0).await)
}

fn known_epoch(replica: &Replica) -> Option<i16> {
    let known = replica.log().known_producers();
    known.iter().map(|(_, known)| known.producer_epoch.0).max()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("needle {number}")).collect()
}

async fn produce_numbered(spu: &TestSpu, range: std::ops::Range<usize>) {
    for chunk in numbered(range).chunks(7) {
        let values: Vec<_> = chunk.iter().map(String::as_str).collect();
        produced(spu, 0, &values).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_the_chain_is_written_in_order() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "contains");
    produced(&spu, 0, &["needle 1", "hay", "needle 2"]).await;
    let transform = with_param(transform("contains", &["out"]), "text", "needle");
    spu.script.set_transform(transform);

    assert_eq!(written(&spu, "out", 0, 2).await, ["needle 1", "needle 2"]);
    produced(&spu, 0, &["hay", "needle 3"]).await;
    assert_eq!(written(&spu, "out", 0, 3).await[2], "needle 3");

    let told = spu
        .script
        .wait_for_runner(0, |told| told.position == 5)
        .await;
    assert_eq!((told.records_in, told.records_out), (5, 3));
    assert_eq!(told.modules, "contains@1.0.0");
    assert_eq!(told.state(), v1::TransformRunState::Running);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_leaders_of_input_and_output_lose_nothing_and_repeat_nothing() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "contains");
    spu.script.set_transform(with_param(
        transform("contains", &["out"]),
        "text",
        "needle",
    ));
    for round in 0..12 {
        let from = round * 50;
        produce_numbered(&spu, from..from + 25).await;
        elect(&spu, "out").await;
        produce_numbered(&spu, from + 25..from + 50).await;
        written(&spu, "out", 0, from + 10).await;
        elect(&spu, "t").await;
    }

    assert_eq!(written(&spu, "out", 0, 600).await, numbered(0..600));
    produce_numbered(&spu, 600..601).await;
    assert_eq!(written(&spu, "out", 0, 601).await, numbered(0..601));
    spu.spu.stop().await;
}

/// Has the SPU lead a topic's first partition anew, and waits until it does.
pub(crate) async fn elect(spu: &TestSpu, name: &str) {
    let before = leader(&spu.spu, name, 0).await.leader_epoch();
    spu.script.elect(name, 0, Some(0));
    until("the SPU leads anew", || {
        let replica = try_leader(&spu.spu, name, 0).ok()?;
        (replica.leader_epoch() > before).then_some(())
    })
    .await;
}

/// The SPU after a restart.
pub(crate) async fn again(spu: TestSpu) -> TestSpu {
    let TestSpu {
        spu: first,
        script,
        _sc,
        dir,
    } = spu;
    first.stop().await;
    let again: SpuOptions = options(&_sc.address.to_string(), dir.path());
    let second = try_start(again).await.unwrap();
    script.announce_spu(second.data_address());
    TestSpu {
        spu: second,
        script,
        _sc,
        dir,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_output_is() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "contains");
    spu.script.set_transform(with_param(
        transform("contains", &["out"]),
        "text",
        "needle",
    ));
    produce_numbered(&spu, 0..100).await;
    written(&spu, "out", 0, 40).await;
    let spu = again(spu).await;

    assert_eq!(written(&spu, "out", 0, 100).await, numbered(0..100));
    produce_numbered(&spu, 100..130).await;
    assert_eq!(written(&spu, "out", 0, 130).await, numbered(0..130));
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_go_to_their_partitions_from_every_input() {
    let spu = spu_with(3, &[("out", 2)]).await;
    register(&spu, "moody");
    spu.script.set_transform(transform("moody", &["out"]));
    let mut client = spu.client().await;
    for partition in 0..3 {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for number in 0..20 {
            let (key, value) = (format!("k{number}"), format!("{partition}.{number}"));
            batch
                .push(0, Some(key.as_bytes()), Some(value.as_bytes()), &[])
                .unwrap();
        }
        let bytes = Bytes::from(batch.build().unwrap());
        let answer = produce_to(&mut client, produce_request("t", partition, bytes)).await;
        assert_eq!(answer.error_code, 0);
    }

    let mut expected: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for partition in 0..3 {
        for number in 0..20 {
            let to = thalweg_client::partition_for_key(format!("k{number}").as_bytes(), 2);
            let values = expected.entry(to).or_default();
            values.push(format!("{partition}.{number}"));
        }
    }
    for (partition, mut expected) in expected {
        let partition = i32::try_from(partition).unwrap();
        let found = written(&spu, "out", partition, expected.len()).await;
        for input in ["0.", "1.", "2."] {
            let of = |values: &[String]| -> Vec<String> {
                let own = values.iter().filter(|value| value.starts_with(input));
                own.cloned().collect()
            };
            assert_eq!(of(&found), of(&expected), "in the order of their input");
        }
        let mut found = found;
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_sends_records_to_the_outputs_that_it_names() {
    let spu = spu_with(1, &[("others", 1), ("late", 1)]).await;
    register(&spu, "sorted");
    spu.script
        .set_transform(transform("sorted", &["others", "late"]));

    produced(&spu, 0, &["late:1", "2", "late:3", "4"]).await;

    assert_eq!(written(&spu, "late", 0, 2).await, ["late:1", "late:3"]);
    assert_eq!(written(&spu, "others", 0, 2).await, ["2", "4"]);
    produced(&spu, 0, &["5", "nowhere:6", "7"]).await;
    let told = spu
        .script
        .wait_for_runner(0, |told| told.state() == v1::TransformRunState::Failed);
    let reason = told.await.reason;
    assert!(
        reason.contains("offset 5") && reason.contains("`nowhere`"),
        "{reason}"
    );
    assert_eq!(written(&spu, "others", 0, 3).await, ["2", "4", "5"]);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_follows_the_policy() {
    let spu = spu_with(1, &[("out", 1), ("failed", 1)]).await;
    register(&spu, "moody");
    spu.script.set_transform(transform("moody", &["out"]));

    produced(&spu, 0, &["1", "2", "fail", "4"]).await;
    let failed = |told: &v1::TransformReport| told.state() == v1::TransformRunState::Failed;
    let told = spu.script.wait_for_runner(0, failed).await;
    assert!(
        told.reason.contains("in no mood for offset 2"),
        "{}",
        told.reason
    );
    assert_eq!(written(&spu, "out", 0, 2).await, ["1", "2"]);
    let letters = OnError::DeadLetter("failed".parse().unwrap());
    spu.script
        .set_transform(on_error(transform("moody", &["out"]), &letters));
    assert_eq!(written(&spu, "out", 0, 3).await, ["1", "2", "4"]);
    assert_eq!(written(&spu, "failed", 0, 1).await, ["fail"]);
    let before = epoch(&spu, "out").await;
    spu.script
        .set_transform(on_error(transform("moody", &["out"]), &SKIP));
    let out = leader(&spu.spu, "out", 0).await;
    until("the other policy is in force", || {
        (known_epoch(&out) > before).then_some(())
    })
    .await;
    produced(&spu, 0, &["panic", "6", "fail", "8"]).await;

    assert_eq!(written(&spu, "out", 0, 5).await, ["1", "2", "4", "6", "8"]);
    assert_eq!(written(&spu, "failed", 0, 1).await, ["fail"]);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_record_gives_may_be_more_than_a_batch() {
    let spu = spu_with(1, &[]).await;
    let config = [("durability", "memory"), ("max.message.bytes", "1200")];
    spu.create_topic("out", 1, &config).await;
    register(&spu, "repeat");
    spu.script
        .set_transform(with_param(transform("repeat", &["out"]), "times", "50"));

    let texts: Vec<_> = (0..20).map(|number| format!("{number:0>90}")).collect();
    for (round, text) in texts.iter().enumerate() {
        produced(&spu, 0, &[text]).await;
        written(&spu, "out", 0, round * 50).await;
        if round % 4 == 1 {
            elect(&spu, "out").await;
        }
        if round % 4 == 3 {
            elect(&spu, "t").await;
        }
    }

    let expected: Vec<_> = texts
        .iter()
        .flat_map(|text| std::iter::repeat_n(text.clone(), 50))
        .collect();
    assert_eq!(written(&spu, "out", 0, 1000).await, expected);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_transform_stands_still_and_goes_on_where_it_was() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "moody");
    spu.script.set_transform(transform("moody", &["out"]));
    produced(&spu, 0, &["1", "2"]).await;
    written(&spu, "out", 0, 2).await;

    let mut paused = transform("moody", &["out"]);
    paused.status.as_mut().unwrap().state = v1::TransformState::Paused.into();
    spu.script
        .wait_for_runner(0, |told| told.position == 2)
        .await;
    spu.script.set_transform(paused);
    spu.script.wait_for_no_runner(0).await;
    produced(&spu, 0, &["3"]).await;
    let replica = leader(&spu.spu, "out", 0).await;
    let before = known_epoch(&replica);
    spu.script.wait_for_heartbeats(5).await;
    assert_eq!(values(&replica), ["1", "2"]);

    spu.script.set_transform(transform("moody", &["out"]));
    assert_eq!(written(&spu, "out", 0, 3).await, ["1", "2", "3"]);
    assert!(known_epoch(&replica) > before, "it has begun another epoch");
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_come_to_an_output_are_written_too() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "moody");
    spu.script.set_transform(transform("moody", &["out"]));
    let send = async |range: std::ops::Range<usize>| {
        let mut client = spu.client().await;
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for number in range {
            let key = format!("k{number}");
            batch
                .push(0, Some(key.as_bytes()), Some(key.as_bytes()), &[])
                .unwrap();
        }
        let bytes = Bytes::from(batch.build().unwrap());
        produce_to(&mut client, produce_request("t", 0, bytes)).await
    };
    send(0..40).await;
    written(&spu, "out", 0, 40).await;

    spu.script.add_partition("out");
    leader(&spu.spu, "out", 1).await;
    spu.script.wait_for_heartbeats(2).await;
    send(40..80).await;

    let of_second =
        |number: &usize| thalweg_client::partition_for_key(format!("k{number}").as_bytes(), 2) == 1;
    let expected = (40..80).filter(of_second).count();
    let second = written(&spu, "out", 1, expected).await;
    let first = written(&spu, "out", 0, 80 - expected).await;
    assert_eq!(second.len(), expected);
    assert_eq!(first.len(), 80 - expected, "nothing twice");
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_where_it_is_told() {
    let spu = spu_with(1, &[("a", 1), ("b", 1), ("c", 1)]).await;
    register(&spu, "moody");
    produced(&spu, 0, &["1", "2", "3"]).await;
    for (number, (output, start)) in [("a", "end"), ("b", "offset:1"), ("c", "")]
        .iter()
        .enumerate()
    {
        let mut starting = transform("moody", &[output]);
        starting.name = format!("tr-{output}");
        starting.number = 10 + u64::try_from(number).unwrap();
        starting.spec.as_mut().unwrap().start = (*start).to_owned();
        spu.script.set_transform(starting);
    }
    assert_eq!(written(&spu, "c", 0, 3).await, ["1", "2", "3"]);
    assert_eq!(written(&spu, "b", 0, 2).await, ["2", "3"]);
    let at_end = leader(&spu.spu, "a", 0).await;
    until("the transform has begun", || {
        (!at_end.log().known_producers().is_empty()).then_some(())
    })
    .await;

    produced(&spu, 0, &["4"]).await;

    assert_eq!(written(&spu, "a", 0, 1).await, ["4"]);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_else_writes_as_a_transform() {
    let spu = spu_with(1, &[]).await;
    let mut client = spu.client().await;
    let options = BatchOptions {
        producer_id: thalweg_types::ProducerId(1 << 62),
        producer_epoch: thalweg_types::ProducerEpoch(0),
        base_sequence: 0,
        ..BatchOptions::default()
    };
    let forged = crate::setup::batch_with(options, &["a"]);

    let answer = produce_to(&mut client, produce_request("t", 0, forged)).await;

    assert_eq!(answer.error_code, 87, "INVALID_RECORD");
    let plain = produce_to(&mut client, produce_request("t", 0, batch(&["a"]))).await;
    assert_eq!(plain.error_code, 0);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_look_up_what_a_table_has_now() {
    let spu = spu_with(1, &[("out", 1)]).await;
    let config = [("cleanup.policy", "compact"), ("durability", "memory")];
    spu.create_topic("names", 3, &config).await;
    register(&spu, "named");
    let mut client = spu.client().await;
    for (partition, key, name) in [(0, "UA", "United"), (2, "AA", "American"), (1, "XX", "x")] {
        name_it(&mut client, partition, key, Some(name)).await;
    }
    name_it(&mut client, 1, "XX", None).await;
    produced(&spu, 0, &["AA", "XX", "UA"]).await;
    let mut joined = transform("named", &["out"]);
    joined.spec.as_mut().unwrap().tables = vec!["names".to_owned()];
    spu.script.set_transform(joined);

    let first = ["American (8)", "nobody knows XX", "United (6)"];
    assert_eq!(written(&spu, "out", 0, 3).await, first);
    name_it(&mut client, 0, "UA", Some("United Air Lines")).await;
    until_told("the new name is seen", async || {
        produced(&spu, 0, &["UA"]).await;
        let found = values(&*try_leader(&spu.spu, "out", 0).ok()?);
        let is_new = found.iter().any(|value| value == "United Air Lines (16)");
        is_new.then_some(())
    })
    .await;
    spu.spu.stop().await;
}

async fn name_it(
    client: &mut crate::client::RawClient,
    partition: i32,
    key: &str,
    name: Option<&str>,
) {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    let (key, name) = (Some(key.as_bytes()), name.map(str::as_bytes));
    batch.push(0, key, name, &[]).unwrap();
    let bytes = Bytes::from(batch.build().unwrap());
    let answer = produce_to(client, produce_request("names", partition, bytes)).await;
    assert_eq!(answer.error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transform_without_the_table_that_its_module_wants_says_so() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "named");
    spu.script.set_transform(transform("named", &["out"]));
    produced(&spu, 0, &["UA"]).await;

    let told = spu
        .script
        .wait_for_runner(0, |told| told.state() == v1::TransformRunState::Failed)
        .await;
    assert!(told.reason.contains("--table names"), "{}", told.reason);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_marker_that_somebody_had_deleted_is_written_anew_with_the_next_records() {
    let spu = spu_with(1, &[("out", 1)]).await;
    register(&spu, "contains");
    let transform = with_param(transform("contains", &["out"]), "text", "needle");
    spu.script.set_transform(transform);
    produce_numbered(&spu, 0..20).await;
    written(&spu, "out", 0, 20).await;
    let out = leader(&spu.spu, "out", 0).await;
    let markers = |log: &thalweg_storage::Log| {
        let slice = log.read(log.log_start(), u32::MAX, log.log_end()).unwrap();
        let bytes = slice.read_bytes().unwrap();
        let found = batches(&bytes).filter(|batch| {
            let header = batch.as_ref().unwrap().header();
            ProgressMarker::of(header).is_some()
        });
        found.count()
    };
    assert_eq!(markers(out.log()), 1);
    let log = std::sync::Arc::clone(out.log());
    tokio::task::spawn_blocking(move || log.delete_records_before(log.log_end()))
        .await
        .unwrap()
        .unwrap();

    produce_numbered(&spu, 20..30).await;

    until("the marker is there again", || {
        (markers(out.log()) > 0).then_some(())
    })
    .await;
    produce_numbered(&spu, 30..40).await;
    assert_eq!(written(&spu, "out", 0, 20).await, numbered(20..40));
    assert_eq!(markers(out.log()), 1, "one is enough");
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_modules_log_is_in_a_topic_with_where_it_was_logged() {
    let spu = spu_with(1, &[("out", 1)]).await;
    spu.create_topic("__transform_logs", 1, &[("durability", "memory")])
        .await;
    register(&spu, "moody");
    produced(&spu, 0, &["fine"]).await;
    spu.script.set_transform(transform("moody", &["out"]));
    written(&spu, "out", 0, 1).await;
    produced(&spu, 0, &["log"]).await;

    let lines = written(&spu, "__transform_logs", 0, 1).await;
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    let expected = serde_json::json!({
        "transform": "tr", "module": "moody@1.0.0", "level": "warn", "topic": "t", "partition": 0,
        "offset": 1, "spu": 0, "text": "seen 1",
    });
    assert_eq!(line, expected);
    spu.spu.stop().await;
}
