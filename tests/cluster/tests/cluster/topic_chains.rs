//! Chains that belong to a topic: every producer's records go through them before the append.

use std::path::PathBuf;
use std::time::Duration;

use thalweg_client::{
    Client, ConsumerOptions, EndOffset, NewTopic, ProduceError, ProducerOptions, ProducerRecord,
    SmartModuleInvocation, StartOffset, TopicUpdate,
};
use thalweg_tests_cluster::{LocalCluster, eventually, read_back};
use thalweg_types::{ChainSpec, ErrorCode, ModuleRef, OnError, TopicName};

use crate::chain_steps::{register, step};
use crate::modules::{even_offsets, everything, failing, nothing};
use crate::workload::Workload;
use thalweg_tests_cluster::examples::example;

fn chain(modules: &[&str]) -> ChainSpec {
    ChainSpec {
        steps: modules.iter().map(|module| step(module)).collect(),
    }
}

/// Gives the topic a chain; its SPU hears of it a moment later.
async fn attach(client: &Client, topic: &TopicName, modules: &[&str]) {
    let update = TopicUpdate {
        produce_chain: Some(chain(modules)),
        ..TopicUpdate::default()
    };
    client.admin().update_topic(topic, update).await.unwrap();
}

async fn create(client: &Client, topic: &str, modules: &[&str]) -> TopicName {
    let name: TopicName = topic.parse().unwrap();
    let mut new = NewTopic::new(name.clone(), 1);
    new.produce_chain = chain(modules);
    client.admin().create_topic(new).await.unwrap();
    name
}

/// Sends the numbers of `range` in one batch.
async fn send(
    client: &Client,
    topic: &TopicName,
    range: std::ops::Range<u32>,
    smartmodules: Vec<SmartModuleInvocation>,
) -> Result<(), ProduceError> {
    let options = ProducerOptions {
        linger: Duration::from_secs(60),
        smartmodules,
        ..ProducerOptions::default()
    };
    let producer = client.producer(topic, options).await?;
    for number in range {
        let value = number.to_string();
        producer
            .enqueue(ProducerRecord::new(value.as_bytes()))
            .await?;
    }
    producer.flush().await
}

/// The numbers that the topic keeps.
async fn kept(client: &Client, topic: &TopicName) -> Vec<u32> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    let mut kept = Vec::new();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        for record in batch.records() {
            let text = std::str::from_utf8(record.value.unwrap()).unwrap();
            kept.push(text.parse().unwrap());
        }
    }
    kept
}

/// Sends a number again and again until what is kept is as `wanted`: SPUs hear of a change a moment
/// after the SC.
async fn until_kept(
    client: &Client,
    topic: &TopicName,
    number: u32,
    wanted: impl Fn(&[u32]) -> bool,
) {
    eventually("the chain is in force", || async {
        // A chain that fails is in force, too.
        let _ = send(client, topic, number..number + 1, Vec::new()).await;
        wanted(&kept(client, topic).await).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topics_chain_is_applied_to_every_producer_and_composes_with_its_own() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "even", even_offsets()).await;
    let topic = create(&client, "numbers", &["even"]).await;

    send(&client, &topic, 0..10, Vec::new()).await.unwrap();
    assert_eq!(kept(&client, &topic).await, [0, 2, 4, 6, 8]);

    // Of every second one, every second.
    let own = vec![SmartModuleInvocation::wasm("own", even_offsets())];
    send(&client, &topic, 10..20, own).await.unwrap();
    assert_eq!(kept(&client, &topic).await[5..], [10, 14, 18]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_attached_shown_and_cleared_at_the_command_line() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "nothing", nothing()).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let file: PathBuf = cluster.path("chain.yaml");
    std::fs::write(&file, "transforms:\n  - uses: nothing@0.1.0\n").unwrap();
    let file = file.to_string_lossy();
    let run = |arguments: &[&str]| {
        let output = cluster.thalweg(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };

    run(&["topic", "update", "numbers", "--transforms", &file]);
    assert!(run(&["topic", "describe", "numbers"]).contains("nothing@0.1.0"));
    assert!(run(&["smartmodule", "describe", "nothing"]).contains("topic numbers"));
    for module in ["nothing", "nothing@0.1.0"] {
        let refused = cluster.thalweg(&["smartmodule", "delete", module]);
        let errors = String::from_utf8(refused.stderr).unwrap();
        assert_eq!(refused.status.code(), Some(2), "{errors}");
        assert!(errors.contains("`numbers`"), "{errors}");
    }
    eventually("nothing is kept", || async {
        let before = kept(&client, &topic).await.len();
        send(&client, &topic, 7..8, Vec::new()).await.unwrap();
        (kept(&client, &topic).await.len() == before).then_some(())
    })
    .await;

    run(&["topic", "update", "numbers", "--clear-transforms"]);
    until_kept(&client, &topic, 8, |kept| kept.contains(&8)).await;
    assert!(!run(&["topic", "describe", "numbers"]).contains("nothing@0.1.0"));
    run(&["smartmodule", "delete", "nothing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_can_not_be_are_refused_with_the_step() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "even", even_offsets()).await;
    let refused = |spec: ChainSpec| {
        let admin = client.admin();
        async move {
            let mut new = NewTopic::new("numbers".parse().unwrap(), 1);
            new.produce_chain = spec;
            let error = admin.create_topic(new).await.unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidRequest);
            error.to_string()
        }
    };

    let unknown = refused(chain(&["even", "odd"])).await;
    assert!(unknown.contains("steps[1]"), "{unknown}");
    assert!(unknown.contains("no SmartModule `odd`"), "{unknown}");
    let version = refused(chain(&["even@9.0.0"])).await;
    assert!(version.contains("it has 0.1.0"), "{version}");
    let mut letters = chain(&["even"]);
    letters.steps[0].on_error = OnError::DeadLetter("numbers".parse().unwrap());
    let itself = refused(letters).await;
    assert!(itself.contains("itself"), "{itself}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_fails_refuses_the_batch_and_stalls_nobody() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "failing", failing("not today")).await;
    let topic = create(&client, "numbers", &["failing"]).await;

    for _ in 0..3 {
        let failed = send(&client, &topic, 0..4, Vec::new()).await.unwrap_err();
        let text = failed.to_string();
        assert!(text.contains("failing@0.1.0"), "{text}");
        assert!(text.contains("not today"), "{text}");
    }
    assert!(kept(&client, &topic).await.is_empty());

    attach(&client, &topic, &[]).await;
    until_kept(&client, &topic, 5, |kept| kept.contains(&5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_modules_make_too_large_is_refused_by_their_names_and_sizes() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let repeat = example("thalweg-smartmodule", "repeat");
    register(&client, "repeat", repeat.clone()).await;
    let own = vec![SmartModuleInvocation::wasm("own", repeat)];
    for (topic, chain, own, blamed) in [
        (
            "theirs",
            chain(&["repeat"]),
            vec![],
            "SmartModule `repeat@0.1.0`",
        ),
        ("own", chain(&[]), own.clone(), "SmartModule `own`"),
        (
            "both",
            chain(&["repeat"]),
            own,
            "SmartModules `own`, `repeat@0.1.0`",
        ),
    ] {
        let mut new = NewTopic::new(topic.parse().unwrap(), 1);
        new.config.set("max.message.bytes", "1024").unwrap();
        new.produce_chain = chain;
        let topic = new.name.clone();
        client.admin().create_topic(new).await.unwrap();
        let options = ProducerOptions {
            smartmodules: own,
            ..ProducerOptions::default()
        };
        let producer = client.producer(&topic, options).await.unwrap();
        let send = async |value: &[u8]| {
            let sent = producer.send(ProducerRecord::new(value)).await;
            sent.unwrap().await
        };

        let refused = send(&[b'x'; 600]).await.unwrap_err().to_string();

        for word in [blamed, "of a batch of 6", "`max.message.bytes` of 1024"] {
            assert!(refused.contains(word), "{refused}");
        }
        // Nothing of it was kept, and what fits goes on.
        send(b"1").await.unwrap();
        let kept = kept(&client, &topic).await;
        assert!(
            kept.len() >= 2 && kept.iter().all(|number| *number == 1),
            "{kept:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_version_that_a_name_stands_for_is_the_one_that_runs() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "gate", nothing()).await;
    let topic = create(&client, "numbers", &["gate"]).await;
    send(&client, &topic, 0..4, Vec::new()).await.unwrap();
    assert!(kept(&client, &topic).await.is_empty());

    register(&client, "gate", everything()).await;
    until_kept(&client, &topic, 4, |kept| kept.contains(&4)).await;

    let gate: ModuleRef = "gate".parse().unwrap();
    client.admin().rollback_smart_module(&gate).await.unwrap();
    eventually("the older version runs", || async {
        let before = kept(&client, &topic).await.len();
        send(&client, &topic, 5..6, Vec::new()).await.unwrap();
        (kept(&client, &topic).await.len() == before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_chains_come_and_go_and_the_spu_is_killed() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "pass", everything()).await;
    let topic = cluster.create_topic("numbers", 2, &[]).await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(500).await;

    for round in 0..3 {
        attach(&client, &topic, &["pass"]).await;
        workload.progress(500).await;
        if round == 1 {
            cluster.take_spu(0).kill();
            cluster.start_spu(0);
            workload.progress(500).await;
        }
        attach(&client, &topic, &[]).await;
        workload.progress(500).await;
    }
    attach(&client, &topic, &["pass", "pass@0.1.0"]).await;
    cluster.take_sc().kill();
    cluster.take_spu(0).kill();
    cluster.start_spu(0);
    workload.progress(500).await;

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}
