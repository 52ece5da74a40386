//! Restarts in every order, and life without an SC.

use thalweg_client::{ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::{LocalCluster, eventually, read_back};
use thalweg_types::Offset;

use crate::workload::Workload;

/// One thing that is done to a process while clients work.
#[derive(Clone, Copy)]
enum Step {
    StopSc,
    KillSc,
    StartSc,
    StopSpu,
    KillSpu,
    StartSpu,
}

async fn survives(steps: &[Step]) {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 2, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(200).await;

    for step in steps {
        match step {
            Step::StopSc => assert!(cluster.take_sc().stop().unwrap().success()),
            Step::KillSc => cluster.take_sc().kill(),
            Step::StartSc => cluster.start_sc(),
            Step::StopSpu => assert!(cluster.take_spu(0).stop().unwrap().success()),
            Step::KillSpu => cluster.take_spu(0).kill(),
            Step::StartSpu => {
                cluster.start_spu(0);
                // Whether or not there is an SC: an SPU serves by what it has on its disk.
                workload.progress(200).await;
            }
        }
    }
    workload.progress(200).await;

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_while_the_sc_is_stopped_killed_and_started() {
    survives(&[Step::StopSc, Step::StartSc, Step::KillSc, Step::StartSc]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_when_the_spu_restarts_before_the_sc() {
    survives(&[
        Step::StopSc,
        Step::StopSpu,
        Step::StartSpu,
        Step::StartSc,
        Step::KillSc,
        Step::KillSpu,
        Step::StartSpu,
        Step::StartSc,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_go_on_when_the_sc_restarts_before_the_spu() {
    survives(&[
        Step::StopSpu,
        Step::StopSc,
        Step::StartSc,
        Step::StartSpu,
        Step::KillSpu,
        Step::KillSc,
        Step::StartSc,
        Step::StartSpu,
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_are_replaced_one_at_a_time_under_load() {
    survives(&[Step::StopSc, Step::StartSc, Step::StopSpu, Step::StartSpu]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_producer_starts_at_an_spu_that_restarted_without_an_sc() {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    // What the SPU was told goes to its disk a moment after it serves by it.
    let kept = cluster.path("spu-0").join("cluster.json");
    eventually("the SPU has kept what it was told", || async {
        let text = std::fs::read_to_string(&kept).ok()?;
        text.contains("numbers").then_some(())
    })
    .await;
    cluster.take_sc().kill();
    cluster.take_spu(0).kill();
    cluster.start_spu(0);

    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let delivery = producer.send(ProducerRecord::new(b"7")).await.unwrap();

    assert_eq!(delivery.await.unwrap().offset, Some(Offset::ZERO));
    assert_eq!(read_back(&client, &topic).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_while_its_spu_was_down_is_gone_when_it_returns() {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("numbers", 1, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(100).await;
    workload.finish().await;

    cluster.take_spu(0).stop().unwrap();
    client.admin().delete_topic(&topic).await.unwrap();
    cluster.start_spu(0);
    cluster.all_online().await;
    let again = cluster.create_topic("numbers", 1, &[]).await;

    let client = cluster.client().await;
    assert!(
        read_back(&client, &again).await.values().all(Vec::is_empty),
        "the new topic has the old one's records"
    );
}
