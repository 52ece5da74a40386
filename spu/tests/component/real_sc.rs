//! The SPU with the real SC, both in this process: topics are created through the SPU as a Kafka
//! client would have it, and either side restarts.

use std::net::SocketAddr;
use std::path::Path;

use clap::Parser;
use thalweg_runtime::SystemClock;
use thalweg_sc::{Sc, ScOptions};
use thalweg_spu::{NewTopic, Spu, TopicUpdate};
use thalweg_types::resource::{ReplicaPlacement, TopicSpec};
use thalweg_types::{ChainSpec, ConfigKey, TopicConfig};

use crate::harness::{append, leader, name, start, try_leader, until, values, view_where};

pub(crate) async fn start_sc(listen: &str, data_dir: &Path) -> Sc {
    let options = ScOptions::parse_from([
        "thalweg-sc",
        &format!("--listen={listen}"),
        &format!("--data-dir={}", data_dir.display()),
        "--heartbeat-interval=50ms",
        "--spu-timeout=1s",
    ]);
    Sc::start(&options, SystemClock::shared()).await.unwrap()
}

async fn sc_and_spu(folder: &Path) -> (Sc, SocketAddr, Spu) {
    let sc = start_sc("127.0.0.1:0", &folder.join("sc")).await;
    let address = sc.admin_address();
    let spu = start(&address.to_string(), &folder.join("spu")).await;
    (sc, address, spu)
}

pub(crate) async fn create_topic(spu: &Spu, topic: &str, partitions: i32) {
    let created = spu
        .context()
        .admin
        .create_topic(NewTopic {
            name: topic.to_owned(),
            spec: TopicSpec {
                placement: ReplicaPlacement::Computed {
                    partitions,
                    replication_factor: 1,
                },
                config: TopicConfig::default(),
                produce_chain: ChainSpec::default(),
            },
            validate_only: false,
        })
        .await
        .unwrap();
    assert_eq!(created.name, name(topic));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_lives_from_its_creation_to_its_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let (sc, _, spu) = sc_and_spu(folder.path()).await;

    create_topic(&spu, "orders", 2).await;
    append(&leader(&spu, "orders", 1).await, &["a"])
        .await
        .unwrap();

    let update = TopicUpdate {
        set_config: [("retention.bytes".to_owned(), "1MiB".to_owned())].into(),
        partitions: Some(3),
        ..TopicUpdate::default()
    };
    let admin = &spu.context().admin;
    admin.update_topic(&name("orders"), update).await.unwrap();
    append(&leader(&spu, "orders", 2).await, &["b"])
        .await
        .unwrap();
    let replica = leader(&spu, "orders", 1).await;
    until("the new setting is in force", || {
        (replica.config().get(ConfigKey::RetentionBytes) == "1048576").then_some(())
    })
    .await;
    assert_eq!(values(&replica), ["a"]);

    admin.delete_topic(&name("orders")).await.unwrap();
    view_where(&spu, |view| view.topics.is_empty()).await;
    let partitions = folder.path().join("spu").join("partitions");
    until("the data is gone", || {
        (std::fs::read_dir(&partitions).unwrap().count() == 0).then_some(())
    })
    .await;
    spu.stop().await;
    sc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sc_that_restarts_finds_its_spu_again() {
    let folder = tempfile::tempdir().unwrap();
    let (sc, address, spu) = sc_and_spu(folder.path()).await;
    create_topic(&spu, "orders", 1).await;
    append(&leader(&spu, "orders", 0).await, &["a"])
        .await
        .unwrap();

    sc.stop().await;
    append(&leader(&spu, "orders", 0).await, &["b"])
        .await
        .unwrap();
    let sc = start_sc(&address.to_string(), &folder.path().join("sc")).await;

    let epoch = sc.epoch();
    view_where(&spu, |view| view.controller_epoch == epoch).await;
    let replica = until("it leads under the new SC", || {
        try_leader(&spu, "orders", 0).ok()
    })
    .await;
    assert_eq!(values(&replica), ["a", "b"]);
    create_topic(&spu, "later", 1).await;
    append(&leader(&spu, "later", 0).await, &["c"])
        .await
        .unwrap();
    spu.stop().await;
    sc.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_that_restarts_leads_again_with_its_data() {
    let folder = tempfile::tempdir().unwrap();
    let (sc, address, spu) = sc_and_spu(folder.path()).await;
    create_topic(&spu, "orders", 1).await;
    let before = leader(&spu, "orders", 0).await;
    append(&before, &["a"]).await.unwrap();
    spu.stop().await;

    let spu = start(&address.to_string(), &folder.path().join("spu")).await;

    // The SC gives a restarted leader a new epoch.
    let replica = until("it leads again", || {
        try_leader(&spu, "orders", 0)
            .ok()
            .filter(|replica| replica.leader_epoch() > before.leader_epoch())
    })
    .await;
    append(&replica, &["b"]).await.unwrap();
    assert_eq!(values(&replica), ["a", "b"]);
    spu.stop().await;
    sc.stop().await;
}
