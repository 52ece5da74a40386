//! SmartModules that the cluster keeps, by real processes that restart and are killed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg_client::{
    Client, ConsumeError, ConsumerOptions, EndOffset, NewSmartModule, ProducerOptions,
    ProducerRecord, SmartModuleInvocation, StartOffset,
};
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{
    ErrorCode, ModuleRef, PartitionIndex, ResourceName, TopicName, TopicPartition, sha256_hex,
};

use crate::modules::{even_offsets, nothing};

fn name(text: &str) -> ResourceName {
    text.parse().unwrap()
}

async fn register(client: &Client, module: &str, wasm: Vec<u8>) -> ModuleRef {
    let new = NewSmartModule::new(name(module), wasm);
    let registered = client.admin().create_smart_module(new).await.unwrap();
    ModuleRef {
        name: name(module),
        version: Some(registered.version),
    }
}

/// The filter counts within batches.
fn in_one_batch() -> ProducerOptions {
    ProducerOptions {
        linger: Duration::from_secs(60),
        ..ProducerOptions::default()
    }
}

/// A topic with the records 0 to 9.
async fn ten_records(cluster: &LocalCluster, client: &Client, topic: &str) -> TopicName {
    let topic = cluster.create_topic(topic, 1, &[]).await;
    let producer = client.producer(&topic, in_one_batch()).await.unwrap();
    for number in 0..10_u32 {
        let value = number.to_string();
        producer
            .enqueue(ProducerRecord::new(value.as_bytes()))
            .await
            .unwrap();
    }
    producer.flush().await.unwrap();
    topic
}

/// The offsets that pass the module of that name.
async fn passing(
    client: &Client,
    topic: &TopicName,
    module: &str,
) -> Result<Vec<i64>, ConsumeError> {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules: vec![SmartModuleInvocation::named(module)],
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await?;
    let mut seen = Vec::new();
    while let Some(batch) = consumer.next_batch().await? {
        seen.extend(batch.records().map(|record| record.offset.0));
    }
    Ok(seen)
}

/// Waits until what the SPU was told is on its disk.
async fn kept(data_dir: &Path, module: &str) {
    let path = data_dir.join("cluster.json");
    let wanted = format!("\"{module}\"");
    eventually("the SPU has kept what it was told", || async {
        let text = std::fs::read_to_string(&path).ok()?;
        text.contains(&wanted).then_some(())
    })
    .await;
}

fn module_file(cluster: &LocalCluster, spu: i32, wasm: &[u8]) -> PathBuf {
    cluster
        .path(&format!("spu-{spu}"))
        .join("smartmodules")
        .join(format!("{}.wasm", sha256_hex(wasm)))
}

const EVEN: [i64; 5] = [0, 2, 4, 6, 8];

#[tokio::test(flavor = "multi_thread")]
async fn a_registered_module_survives_the_restart_of_every_process() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = ten_records(&cluster, &client, "numbers").await;
    register(&client, "even", even_offsets()).await;
    assert_eq!(passing(&client, &topic, "even").await.unwrap(), EVEN);

    cluster.take_sc().kill();
    cluster.take_spu(0).kill();
    std::fs::remove_file(module_file(&cluster, 0, &even_offsets())).unwrap();
    cluster.start_sc();
    cluster.start_spu(0);
    cluster.all_online().await;

    let client = cluster.client().await;
    assert_eq!(passing(&client, &topic, "even@0.1.0").await.unwrap(), EVEN);
    let listed = client.admin().list_smart_modules().await.unwrap();
    assert_eq!(listed.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_opens_registered_streams_without_an_sc() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = ten_records(&cluster, &client, "numbers").await;
    register(&client, "even", even_offsets()).await;
    kept(&cluster.path("spu-0"), "even").await;
    cluster.take_sc().kill();
    cluster.take_spu(0).kill();
    cluster.start_spu(0);

    let client = cluster.client().await;
    assert_eq!(passing(&client, &topic, "even").await.unwrap(), EVEN);
    let unheard = passing(&client, &topic, "odd")
        .await
        .unwrap_err()
        .to_string();
    assert!(unheard.contains("`odd`"), "{unheard}");
    assert!(unheard.contains("can't ask the SC"), "{unheard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_comes_from_another_spu_that_leads_its_topic() {
    let cluster = LocalCluster::start(2).await;
    let client = cluster.client().await;
    register(&client, "even", even_offsets()).await;
    let topic = TopicName::new("__smartmodules").unwrap();
    let described = client.admin().describe_topic(&topic).await.unwrap();
    let leader = described.partitions[0].status.leader.unwrap().0;
    let other = 1 - leader;
    let pinned = cluster.thalweg(&[
        "topic",
        "create",
        "numbers",
        "--replica-assignment",
        &other.to_string(),
    ]);
    assert!(pinned.status.success(), "{pinned:?}");
    let numbers = TopicName::new("numbers").unwrap();
    let producer = client.producer(&numbers, in_one_batch()).await.unwrap();
    for _ in 0..10 {
        producer.enqueue(ProducerRecord::new(b"x")).await.unwrap();
    }
    producer.flush().await.unwrap();

    assert_eq!(passing(&client, &numbers, "even").await.unwrap(), EVEN);
    assert!(module_file(&cluster, other, &even_offsets()).is_file());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_tampered_with_is_found_and_fetched_again() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = ten_records(&cluster, &client, "numbers").await;
    register(&client, "even", even_offsets()).await;
    assert_eq!(passing(&client, &topic, "even").await.unwrap(), EVEN);
    let file = module_file(&cluster, 0, &even_offsets());

    // One that would let nothing pass, under the name of the one that was registered.
    std::fs::write(&file, nothing()).unwrap();
    cluster.take_spu(0).kill();
    cluster.start_spu(0);

    let client = cluster.client().await;
    assert_eq!(passing(&client, &topic, "even").await.unwrap(), EVEN);
    assert_eq!(std::fs::read(&file).unwrap(), even_offsets());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_sc_left_half_done_is_done_by_doing_it_again() {
    let mut cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = ten_records(&cluster, &client, "numbers").await;
    register(&client, "other", nothing()).await;
    let bytes = TopicPartition {
        topic: TopicName::new("__smartmodules").unwrap(),
        partition: PartitionIndex(0),
    };

    for attempt in 0..4 {
        let client = cluster.client().await;
        let admin = client.admin();
        let before = admin.partition_offsets(&bytes).await.unwrap().end;
        let module = format!("even-{attempt}");
        let new = NewSmartModule::new(name(&module), even_offsets());
        let killing = async {
            // The record is there; its row is about to be stored, or was just now.
            while admin.partition_offsets(&bytes).await.unwrap().end == before {}
            cluster.take_sc().kill();
        };
        let (_known_or_not, ()) = tokio::join!(admin.create_smart_module(new), killing);
        cluster.start_sc();
        cluster.all_online().await;

        let client = cluster.client().await;
        register(&client, &module, even_offsets()).await;
        assert_eq!(passing(&client, &topic, &module).await.unwrap(), EVEN);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_spu_the_registry_says_so_and_works_once_one_is_up() {
    let mut cluster = LocalCluster::start(0).await;
    let client = cluster.client().await;
    let new = || NewSmartModule::new(name("even"), even_offsets());
    let refused = client.admin().create_smart_module(new()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unavailable);
    assert!(
        refused.to_string().contains("no SPU is online"),
        "{refused}"
    );

    cluster.start_spu(0);
    cluster.all_online().await;
    let client = cluster.client().await;
    client.admin().create_smart_module(new()).await.unwrap();
    let (_, bytes) = client
        .admin()
        .download_smart_module(&"even".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(bytes, even_offsets());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_largest_module_goes_in_and_comes_out_and_a_larger_one_is_refused() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let largest = crate::modules::padded(8 << 20);
    assert_eq!(largest.len(), 8 << 20);
    let module = register(&client, "large", largest.clone()).await;

    let (_, bytes) = client.admin().download_smart_module(&module).await.unwrap();
    assert!(bytes == largest, "other bytes came back");
    let larger = NewSmartModule::new(name("larger"), crate::modules::padded((8 << 20) + 1));
    let refused = client
        .admin()
        .create_smart_module(larger)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    assert!(refused.to_string().contains("8388608"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_not_registered_are_refused_with_what_there_is() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    let topic = ten_records(&cluster, &client, "numbers").await;
    register(&client, "even", even_offsets()).await;

    let unknown = passing(&client, &topic, "odd")
        .await
        .unwrap_err()
        .to_string();
    let version = passing(&client, &topic, "even@3.0.0").await;
    let version = version.unwrap_err().to_string();

    assert!(unknown.contains("no SmartModule `odd`"), "{unknown}");
    assert!(unknown.contains("thalweg smartmodule list"), "{unknown}");
    assert!(
        version.contains("has no version 3.0.0; it has 0.1.0"),
        "{version}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_sc_writes_to_the_topic_that_keeps_the_bytes() {
    let cluster = LocalCluster::start(1).await;
    let client = cluster.client().await;
    register(&client, "even", even_offsets()).await;
    let topic = TopicName::new("__smartmodules").unwrap();

    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let record = ProducerRecord::new(b"mine").key(b"even@0.1.0");
    let produced = producer.send(record).await.unwrap().await.unwrap_err();
    assert!(
        produced.to_string().contains("the cluster's own"),
        "{produced}"
    );
    let admin = client.admin();
    let deleted = admin.delete_topic(&topic).await.unwrap_err();
    assert!(
        deleted.to_string().contains("the cluster's own"),
        "{deleted}"
    );
    let cut = cluster.thalweg(&[
        "topic",
        "update",
        "__smartmodules",
        "--config",
        "retention.ms=1",
    ]);
    assert_eq!(cut.status.code(), Some(2), "{cut:?}");
    let shown = |arguments: &[&str]| String::from_utf8(cluster.thalweg(arguments).stdout).unwrap();
    assert!(!shown(&["topic", "list"]).contains("__smartmodules"));
    assert!(shown(&["topic", "list", "--internal"]).contains("__smartmodules"));
}
