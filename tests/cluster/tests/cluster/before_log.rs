//! Modules that go by what they have seen, before the log, in a cluster whose SPU is killed: every
//! record counts once.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use thalweg_client::resource::{Partition, ReplicaPlacement};
use thalweg_client::{
    Client, ConsumerOptions, EndOffset, LookBack, NewTopic, Producer, ProducerOptions,
    ProducerRecord, SmartModuleInvocation, StartOffset,
};
use thalweg_runtime::TaskGroup;
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{AggregateSpec, ChainSpec, SpuId, StepSpec, TopicName};
use tokio::sync::watch;

use crate::chain_steps::{register, step};
use thalweg_tests_cluster::examples::example;

/// How many records each producer sends, a one each.
const RECORDS: usize = 60_000;
/// How many of them are under way at a time.
const UNANSWERED: usize = 1_000;
/// How often the leader is killed meanwhile.
const KILLS: usize = 4;
/// How long half of what may be sent takes at most.
const PATIENCE: Duration = Duration::from_secs(60);
const KEYS: [&str; 3] = ["a", "b", "c"];

fn sum() -> Vec<u8> {
    example("thalweg-smartmodule", "sum")
}

/// A topic of one partition with a chain of one `step`, of one of the SDK's examples.
async fn topic_with(
    client: &Client,
    step: StepSpec,
    replication_factor: i32,
    config: &[(&str, &str)],
) -> TopicName {
    let name = step.uses.name.clone();
    let wasm = example("thalweg-smartmodule", name.as_str());
    register(client, name.as_str(), wasm).await;
    let mut new = NewTopic::new("shared".parse().unwrap(), 1);
    new.placement = ReplicaPlacement::Computed {
        partitions: 1,
        replication_factor,
    };
    for (key, value) in config {
        new.config.set(key, value).unwrap();
    }
    new.produce_chain = ChainSpec { steps: vec![step] };
    let name = new.name.clone();
    client.admin().create_topic(new).await.unwrap();
    name
}

/// A topic of one partition that adds up what anybody produces.
async fn summing_topic(client: &Client, by_key: bool, config: &[(&str, &str)]) -> TopicName {
    topic_with(client, sum_from_1000(by_key), 1, config).await
}

fn sum_from_1000(by_key: bool) -> StepSpec {
    StepSpec {
        aggregate: Some(AggregateSpec {
            initial: "1000".to_owned(),
            by_key,
            window: None,
        }),
        ..step("sum")
    }
}

/// What each producer sends, by the number of the record.
type Values = fn(usize) -> String;

fn ones(_: usize) -> String {
    "1".to_owned()
}

/// Sends `values`, with the keys in turn, a few at a time and no more than are `allowed`, and says how
/// many are acknowledged.
async fn send_all(
    producer: &Producer,
    values: Values,
    mut allowed: watch::Receiver<usize>,
    done: &watch::Sender<usize>,
) -> Result<(), String> {
    let mut under_way = std::collections::VecDeque::new();
    for number in 0..RECORDS {
        let more = allowed.wait_for(|allowed| number < *allowed).await;
        drop(more.map_err(|_| "the test ended before its time")?);
        let key = KEYS[number % KEYS.len()];
        let value = values(number);
        let record = ProducerRecord::new(value.as_bytes()).key(key.as_bytes());
        let sent = producer.send(record).await;
        under_way.push_back(sent.map_err(|error| error.to_string())?);
        let left = if number + 1 == RECORDS { 0 } else { UNANSWERED };
        while under_way.len() > left
            && let Some(delivery) = under_way.pop_front()
        {
            delivery.await.map_err(|error| error.to_string())?;
            done.send_modify(|done| *done += 1);
        }
    }
    Ok(())
}

/// The SPU that leads the topic's partition, where its replicas are as `is_so` says.
async fn leader_where(
    client: &Client,
    topic: &TopicName,
    is_so: impl Fn(&Partition) -> bool,
) -> SpuId {
    eventually("the partition is as it should be", || async {
        let described = client.admin().describe_topic(topic).await.ok()?;
        let partition = described.partitions.into_iter().next()?;
        partition.status.leader.filter(|_| is_so(&partition))
    })
    .await
}

/// Sends with all `producers` at once while the partition's leader is killed again and again, each
/// time in the middle of what may be sent by then. Where there are other replicas, one of them leads
/// on.
async fn send_while_the_spu_dies(
    cluster: &mut LocalCluster,
    client: &Client,
    topic: &TopicName,
    producers: Vec<Producer>,
    values: Values,
) {
    let tasks = TaskGroup::new();
    let (allow, allowed) = watch::channel(0);
    let (done, mut acknowledged) = watch::channel(0);
    let (told, mut outcomes) = tokio::sync::mpsc::channel(producers.len());
    let all = producers.len() * RECORDS;
    for producer in producers {
        let (allowed, done, told) = (allowed.clone(), done.clone(), told.clone());
        tasks.spawn("producer", move |_| async move {
            let outcome = send_all(&producer, values, allowed, &done).await;
            // The test may have failed and gone.
            let _ = told.send(outcome).await;
            Ok::<_, Infallible>(())
        });
    }
    drop((done, told));
    for kill in 1..=KILLS {
        let is_whole =
            |partition: &Partition| partition.status.isr.len() == partition.spec.replicas.len();
        let leader = leader_where(client, topic, is_whole).await;
        allow.send_replace(RECORDS * kill / (KILLS + 1));
        let half_way = all * (2 * kill - 1) / (2 * (KILLS + 1));
        let progress = acknowledged.wait_for(|acknowledged| *acknowledged >= half_way);
        let progress = tokio::time::timeout(PATIENCE, progress).await;
        drop(progress.expect("the producers make progress").unwrap());
        cluster.take_spu(leader.0).kill();
        let leads_on = |partition: &Partition| {
            partition.spec.replicas.len() == 1 || partition.status.leader != Some(leader)
        };
        leader_where(client, topic, leads_on).await;
        cluster.start_spu(leader.0);
    }
    allow.send_replace(RECORDS);
    while let Some(outcome) = outcomes.recv().await {
        outcome.expect("no record fails for good");
    }
    tasks.stop().await;
}

/// The keys and values of the topic.
async fn kept(client: &Client, topic: &TopicName) -> Vec<(String, i64)> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    let mut kept = Vec::new();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        for record in batch.records() {
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let value = text(record.value).parse().unwrap();
            kept.push((text(record.key), value));
        }
    }
    kept
}

/// Sees to it that each sum is one more than the one before it, from 1000 on.
fn check_one_by_one(values: impl IntoIterator<Item = i64>, count: usize) {
    let last = values.into_iter().fold(1000, |before, value| {
        assert_eq!(value, before + 1, "a record counts once");
        value
    });
    assert_eq!(last, 1000 + i64::try_from(count).unwrap());
}

fn check_by_key(kept: &[(String, i64)], count: usize) {
    for key in KEYS {
        let of_key = kept.iter().filter(|(other, _)| other == key);
        check_one_by_one(of_key.map(|(_, value)| *value), count / KEYS.len());
    }
}

async fn producers(client: &Client, topic: &TopicName, options: ProducerOptions) -> Vec<Producer> {
    let mut producers = Vec::new();
    for _ in 0..2 {
        let options = options.clone();
        producers.push(client.producer(topic, options).await.unwrap());
    }
    producers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_adds_up_what_two_producers_send_however_often_its_spu_is_killed() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = summing_topic(&client, false, &[]).await;
    let both = producers(&client, &topic, ProducerOptions::default()).await;

    send_while_the_spu_dies(&mut cluster, &client, &topic, both, ones).await;

    let kept = kept(&client, &topic).await;
    assert_eq!(kept.len(), 2 * RECORDS);
    check_one_by_one(kept.into_iter().map(|(_, value)| value), 2 * RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_go_on_exactly_where_another_spu_leads() {
    let mut cluster = LocalCluster::start(3).await;
    let client = cluster.client().await;
    let config = [("min.insync.replicas", "2")];
    let topic = topic_with(&client, sum_from_1000(false), 3, &config).await;
    let both = producers(&client, &topic, ProducerOptions::default()).await;

    send_while_the_spu_dies(&mut cluster, &client, &topic, both, ones).await;

    let summed = kept(&client, &topic).await;
    assert_eq!(summed.len(), 2 * RECORDS);
    check_one_by_one(summed.into_iter().map(|(_, value)| value), 2 * RECORDS);

    let topic = cluster.create_replicated_topic("own", 1, 3, &config).await;
    let own = ProducerOptions {
        smartmodules: vec![SmartModuleInvocation::wasm("sum", sum())],
        accumulator: Some("1000".into()),
        accumulate_by_key: true,
        ..ProducerOptions::default()
    };
    let producer = client.producer(&topic, own).await.unwrap();

    send_while_the_spu_dies(&mut cluster, &client, &topic, vec![producer], ones).await;

    let summed = kept(&client, &topic).await;
    assert_eq!(summed.len(), RECORDS);
    check_by_key(&summed, RECORDS);
}

/// How many words come of a record, by its number: of whole batches nothing is left, or twice as much.
fn word_count(number: usize) -> usize {
    number / 1_500 % 3
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_drops_and_adds_records_neither_loses_nor_doubles_any_where_another_spu_leads()
{
    let mut cluster = LocalCluster::start(3).await;
    let client = cluster.client().await;
    let config = [("min.insync.replicas", "2")];
    let topic = topic_with(&client, step("words"), 3, &config).await;
    let both = producers(&client, &topic, ProducerOptions::default()).await;

    send_while_the_spu_dies(&mut cluster, &client, &topic, both, |number| {
        vec![number.to_string(); word_count(number)].join(" ")
    })
    .await;

    let mut numbers: Vec<_> = kept(&client, &topic).await;
    numbers.sort_by_key(|(_, number)| *number);
    let numbers: Vec<_> = numbers.into_iter().map(|(_, number)| number).collect();
    let each = |number| vec![i64::try_from(number).unwrap(); 2 * word_count(number)];
    let all: Vec<_> = (0..RECORDS).flat_map(each).collect();
    assert!(numbers == all, "{} of {}", numbers.len(), all.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_that_adds_up_by_key_is_a_table_that_keeps_itself() {
    let mut cluster = LocalCluster::start_with(1, &["--compaction-interval=20ms"]).await;
    let client = cluster.client().await;
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "100000"),
        ("min.cleanable.dirty.ratio", "0.1"),
    ];
    let topic = summing_topic(&client, true, &config).await;
    let both = producers(&client, &topic, ProducerOptions::default()).await;

    send_while_the_spu_dies(&mut cluster, &client, &topic, both, ones).await;

    let newest = |kept: Vec<(String, i64)>| kept.into_iter().collect::<BTreeMap<_, _>>();
    let each = 1000 + i64::try_from(2 * RECORDS / KEYS.len()).unwrap();
    let table = KEYS.map(|key| (key.to_owned(), each));
    assert_eq!(newest(kept(&client, &topic).await), table.into());
    eventually("old sums are gone", || async {
        (kept(&client, &topic).await.len() < RECORDS).then_some(())
    })
    .await;
    cluster.take_spu(0).kill();
    cluster.start_spu(0);
    let producer = client.producer(&topic, ProducerOptions::default()).await;
    let producer = producer.unwrap();
    let record = ProducerRecord::new(b"5").key(b"b");
    producer.send(record).await.unwrap().await.unwrap();
    assert_eq!(newest(kept(&client, &topic).await)["b"], each + 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_has_is_dropped_also_after_its_spu_was_killed() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let all = LookBack {
        last: Some(u64::MAX),
        age_ms: None,
    };
    let dedup = StepSpec {
        look_back: Some(all),
        ..step("dedup")
    };
    let topic = topic_with(&client, dedup, 1, &[]).await;
    // They send the same, and again what may be stored and was not acknowledged.
    let options = ProducerOptions {
        idempotent: false,
        ..ProducerOptions::default()
    };
    let both = producers(&client, &topic, options).await;

    send_while_the_spu_dies(&mut cluster, &client, &topic, both, |number| {
        number.to_string()
    })
    .await;

    let mut numbers: Vec<_> = kept(&client, &topic).await;
    numbers.sort_by_key(|(_, number)| *number);
    let numbers: Vec<_> = numbers.into_iter().map(|(_, number)| number).collect();
    let all: Vec<_> = (0..i64::try_from(RECORDS).unwrap()).collect();
    assert!(numbers == all, "{} of {RECORDS}", numbers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_producers_own_sum_comes_out_exact_however_often_the_spu_is_killed() {
    for by_key in [false, true] {
        let mut cluster = LocalCluster::start(1).await;
        let client = cluster.client().await;
        let topic = cluster.create_topic("sums", 1, &[]).await;
        let options = ProducerOptions {
            smartmodules: vec![SmartModuleInvocation::wasm("sum", sum())],
            accumulator: Some("1000".into()),
            accumulate_by_key: by_key,
            ..ProducerOptions::default()
        };
        let producer = client.producer(&topic, options).await.unwrap();

        send_while_the_spu_dies(&mut cluster, &client, &topic, vec![producer], ones).await;

        let kept = kept(&client, &topic).await;
        assert_eq!(kept.len(), RECORDS);
        if by_key {
            check_by_key(&kept, RECORDS);
        } else {
            check_one_by_one(kept.into_iter().map(|(_, value)| value), RECORDS);
        }
    }
}

/// Sends ones with something else among them, and says how many were acknowledged.
async fn send_with_refused_ones(producer: &Producer) -> usize {
    let mut under_way = Vec::new();
    for number in 0..600 {
        let value = if number % 50 == 49 { "x" } else { "1" };
        let record = ProducerRecord::new(value.as_bytes()).key(b"k");
        under_way.push(producer.send(record).await.unwrap());
    }
    let mut acknowledged = 0;
    let mut refused = 0;
    for delivery in under_way {
        match delivery.await {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                assert!(error.to_string().contains("`x` is no number"), "{error}");
                refused += 1;
            }
        }
    }
    assert!(refused >= 12, "{refused}");
    acknowledged
}

/// So small that records come in many batches, several of which are under way.
fn small_batches(smartmodules: Vec<SmartModuleInvocation>) -> ProducerOptions {
    ProducerOptions {
        batch_bytes: 150,
        accumulator: (!smartmodules.is_empty()).then(|| "1000".into()),
        smartmodules,
        ..ProducerOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_sum_refuses_costs_its_batch_and_nothing_else() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let summed = summing_topic(&client, false, &[]).await;
    let plain = cluster.create_topic("own", 1, &[]).await;
    let own = vec![SmartModuleInvocation::wasm("sum", sum())];

    for (topic, smartmodules) in [(summed, Vec::new()), (plain, own)] {
        let producer = client.producer(&topic, small_batches(smartmodules));
        let acknowledged = send_with_refused_ones(&producer.await.unwrap()).await;

        let kept = kept(&client, &topic).await;
        assert!(acknowledged > 100, "{acknowledged}");
        check_one_by_one(kept.into_iter().map(|(_, value)| value), acknowledged);
    }
}

/// An aggregate that gives the accumulator 1 under the key `z`, of one record at a time.
const ALWAYS_Z: &str = r#"(module
    (memory (export "memory") 8)
    (data (i32.const 0) "\00\00\00\00\01\00\00\00\00\01\00\00\09\00\00\00\01\00\00\00")
    (data (i32.const 256) "\10\00\00\00\02z\021\00")
    (func (export "thalweg_abi_v1"))
    (func (export "thalweg_alloc") (param i32) (result i32) i32.const 65536)
    (func (export "thalweg_aggregate") (param i32 i32) (result i32) i32.const 0))"#;

#[tokio::test(flavor = "multi_thread")]
async fn by_key_a_topics_sum_must_come_out_under_the_key_that_it_is_of() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let wasm = cluster.path("z.wasm");
    std::fs::write(&wasm, wat::parse_str(ALWAYS_Z).unwrap()).unwrap();
    let create = ["smartmodule", "create", "z", "--wasm-file"];
    let create = cluster.thalweg(&[&create[..], &[wasm.to_str().unwrap()]].concat());
    assert!(create.status.success(), "{create:?}");
    for (name, by_key) in [("one", false), ("each", true)] {
        let chain = cluster.path("chain.yaml");
        let steps = format!("transforms: [{{uses: z, aggregate: {{by_key: {by_key}}}}}]");
        std::fs::write(&chain, steps).unwrap();
        let chain = chain.to_str().unwrap();
        let create = cluster.thalweg(&["topic", "create", name, "--transforms", chain]);
        assert!(create.status.success(), "{create:?}");
        let described = cluster.thalweg(&["topic", "describe", name]).stdout;
        let described = String::from_utf8(described).unwrap();
        assert_eq!(described.contains("by key, from"), by_key, "{described}");
        let topic: TopicName = name.parse().unwrap();
        let producer = client.producer(&topic, ProducerOptions::default()).await;
        let producer = producer.unwrap();

        let record = ProducerRecord::new(b"v").key(b"k");
        let sent = producer.send(record).await.unwrap().await;

        match sent {
            Ok(_) => assert!(!by_key),
            Err(error) => {
                let text = error.to_string();
                assert!(by_key && text.contains("under another"), "{text}");
            }
        }
    }
}
