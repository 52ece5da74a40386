//! Replicas that move to other SPUs while clients work: by hand, off a drained SPU, and to a new one.

use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};

use thalweg_client::{Client, resource};
use thalweg_tests_cluster::{LocalCluster, eventually, log_bytes, read_back};
use thalweg_types::{SpuId, TopicName};

use crate::elections::stdout;
use crate::replication::{all_in_sync, partitions};
use crate::workload::Workload;

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn spus(ids: &[i32]) -> Vec<SpuId> {
    ids.iter().copied().map(SpuId).collect()
}

/// Waits until an SPU has none of a topic's logs on its disk.
async fn no_data_on(cluster: &LocalCluster, spu: i32) {
    let folder = cluster.path(&format!("spu-{spu}")).join("partitions");
    eventually("the data is gone", || async {
        let left = std::fs::read_dir(&folder).map_or(0, Iterator::count);
        (left == 0).then_some(())
    })
    .await;
}

async fn replicas(client: &Client, topic: &TopicName) -> Vec<Vec<SpuId>> {
    let rows = partitions(client, topic).await;
    rows.into_iter().map(|row| row.spec.replicas).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_moves_to_other_spus_under_load_and_leaves_nothing_behind() {
    let cluster = LocalCluster::start(4).await;
    let config = [("min.insync.replicas", "2"), ("segment.bytes", "200000")];
    let topic = cluster
        .create_replicated_topic("numbers", 1, 2, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(2_000).await;
    assert_eq!(replicas(&client, &topic).await, [spus(&[0, 1])]);

    // All of them, and with them the leader; then there and back again at once.
    let moved = cluster.thalweg(&["partition", "move", "numbers/0", "--to", "2,3"]);
    assert!(stdout(&moved).contains("is held by 2,3"));
    workload.progress(1_000).await;
    for (to, wanted) in [("0,3", [0, 3]), ("3,1", [3, 1])] {
        let moved = cluster.thalweg(&["partition", "move", "numbers/0", "--to", to]);
        stdout(&moved);
        assert_eq!(replicas(&client, &topic).await, [spus(&wanted)]);
        workload.progress(1_000).await;
    }

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
    all_in_sync(&client, &topic).await;
    no_data_on(&cluster, 0).await;
    no_data_on(&cluster, 2).await;
    let id = partitions(&client, &topic).await[0].id;
    let copy = |spu: i32| log_bytes(&cluster.path(&format!("spu-{spu}")), id).ok();
    eventually("both copies are the same", || async {
        (copy(1)? == copy(3)?).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_can_not_end_is_shown_and_taken_back() {
    let mut cluster = LocalCluster::start(3).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 2, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(500).await;

    // SPU 2 is paused and can't catch up; the SC does not know yet.
    cluster.spu(2).pause().unwrap();
    let begun = cluster.thalweg(&["partition", "move", "numbers/0", "--to", "2,1", "--no-wait"]);
    assert!(stdout(&begun).contains("is moving from 0,1 to 2,1"));
    let listed = stdout(&cluster.thalweg(&["partition", "list"]));
    let note = "numbers-0 is moving from 0,1 to 2,1: 0 of 1 new replicas in sync";
    assert!(listed.contains(note), "{listed}");
    workload.progress(500).await;

    let mut waiting = cluster
        .thalweg_command(&["partition", "move", "numbers/0", "--to", "2,1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    assert_eq!(said.next().unwrap().unwrap(), "1 of 2 in sync");

    let cancelled = cluster.thalweg(&["partition", "move", "numbers/0", "--cancel"]);
    assert!(stdout(&cancelled).contains("is held by 0,1"));
    assert_eq!(waiting.wait().unwrap().code(), Some(1));
    let said = said.map(Result::unwrap).collect::<String>();
    let told = "to 2,1 was taken back meanwhile: it is held by 0,1";
    assert!(said.contains(told), "{said}");
    let again = cluster.thalweg(&["partition", "move", "numbers/0", "--cancel"]);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("no move"), "{}", stderr(&again));
    cluster.spu(2).resume().unwrap();
    cluster.all_online().await;
    no_data_on(&cluster, 2).await;

    for (partition, to, status, refusal) in [
        (
            "numbers/0",
            "0,9",
            3,
            "SPU 9 is not registered, see `thalweg spu list`",
        ),
        ("numbers/0", "0,0", 2, "SPU 0 is named twice"),
        ("nosuch/0", "0,1", 3, "it does not exist"),
        ("numbers/7", "0,1", 3, "it does not exist"),
    ] {
        let refused = cluster.thalweg(&["partition", "move", partition, "--to", to]);
        assert!(stderr(&refused).contains(refusal), "{}", stderr(&refused));
        assert_eq!(refused.status.code(), Some(status), "{partition} to {to}");
    }
    let refused = cluster.thalweg(&["partition", "elect", "numbers/7"]);
    assert_eq!(refused.status.code(), Some(3), "{}", stderr(&refused));
    cluster.take_spu(2).stop().unwrap();
    let refused = cluster.thalweg(&["partition", "move", "numbers/0", "--to", "2,1"]);
    assert!(
        // The SC may have yet to hear that the stream has ended.
        stderr(&refused).contains("can't take a replica"),
        "{}",
        stderr(&refused)
    );
    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_spu_is_drained_under_load_and_decommissioned_and_a_new_one_gets_its_share() {
    let mut cluster = LocalCluster::start(3).await;
    let topic = cluster.create_replicated_topic("numbers", 6, 2, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(2_000).await;

    let drained = cluster.thalweg(&["spu", "drain", "0"]);
    assert!(stdout(&drained).contains("SPU 0 is drained: it holds nothing"));
    assert!(stdout(&cluster.thalweg(&["spu", "list"])).contains("draining"));
    no_data_on(&cluster, 0).await;
    workload.progress(500).await;
    let even = stdout(&cluster.thalweg(&["cluster", "rebalance", "--dry-run"]));
    assert!(!even.contains("copied"), "{even}");

    let refused = cluster.thalweg(&["spu", "drain", "1"]);
    assert_eq!(refused.status.code(), Some(5));
    let text = stderr(&refused);
    assert!(text.contains("6 of 6 partitions can't leave it"), "{text}");
    stdout(&cluster.thalweg(&["spu", "undrain", "1"]));

    assert!(cluster.take_spu(0).stop().unwrap().success());
    let gone = cluster.thalweg(&["spu", "decommission", "0"]);
    assert!(stdout(&gone).contains("SPU 0 is no longer part of the cluster"));
    let unknown = cluster.thalweg(&["spu", "drain", "0"]);
    assert_eq!(unknown.status.code(), Some(3));

    cluster.start_spu(3);
    cluster.all_online().await;
    let planned = stdout(&cluster.thalweg(&["cluster", "rebalance", "--dry-run"]));
    assert!(planned.contains("would move"), "{planned}");
    assert!(
        replicas(&client, &topic)
            .await
            .iter()
            .all(|held| !held.contains(&SpuId(3)))
    );
    let moved = stdout(&cluster.thalweg(&["cluster", "rebalance"]));
    assert!(moved.contains("moved"), "{moved}");
    let held = replicas(&client, &topic).await.concat();
    for spu in 1..=3 {
        assert_eq!(held.iter().filter(|held| **held == SpuId(spu)).count(), 4);
    }
    workload.progress(500).await;

    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_copy_keeps_an_spu_in_the_cluster() {
    let mut cluster = LocalCluster::start(2).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 1, &[]).await;
    let client = cluster.client().await;
    cluster.take_spu(0).kill();
    eventually("nobody leads", || async {
        let rows = partitions(&client, &topic).await;
        let status: &resource::PartitionStatus = &rows.first()?.status;
        status.leader.is_none().then_some(())
    })
    .await;

    let refused = cluster.thalweg(&["spu", "decommission", "0"]);
    assert_eq!(refused.status.code(), Some(5));
    let text = stderr(&refused);
    assert!(text.contains("it has no leader: SPU 0 is down"), "{text}");

    // It leaves as soon as it can be copied.
    cluster.start_spu(0);
    eventually("the copy is elsewhere", || async {
        (replicas(&client, &topic).await == [spus(&[1])]).then_some(())
    })
    .await;
    no_data_on(&cluster, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_moved_away_while_its_spu_was_down_goes_when_it_is_back() {
    let mut cluster = LocalCluster::start(3).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 2, &[]).await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(500).await;
    cluster.take_spu(1).kill();

    let moved = cluster.thalweg(&["partition", "move", "numbers/0", "--to", "0,2"]);
    stdout(&moved);
    let id = partitions(&client, &topic).await[0].id;
    assert!(!log_bytes(&cluster.path("spu-1"), id).unwrap().is_empty());
    cluster.start_spu(1);

    no_data_on(&cluster, 1).await;
    let history = workload.finish().await;
    history.check(&read_back(&client, &topic).await);
}
