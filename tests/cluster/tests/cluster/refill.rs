//! Bytes that change on a running SPU's disk: the scrub finds them, the copy is filled from its leader
//! anew and joins again, and nothing that was acknowledged is lost.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use thalweg_client::Client;
use thalweg_tests_cluster::{LocalCluster, eventually, log_bytes};
use thalweg_types::{PartitionId, SpuId, TopicName};

use crate::replication::{SPUS, all_in_sync, assert_nothing_is_lost, leader, partitions};
use crate::workload::Workload;

const SCRUB: &str = "--scrub-bytes-per-second=64MiB";
const SEGMENTS: (&str, &str) = ("segment.bytes", "100000");

/// Changes bytes in the middle of a segment that takes no appends any more.
fn damage(cluster: &LocalCluster, spu: SpuId, partition: PartitionId) {
    let folder = cluster.path(&format!("spu-{spu}"));
    let folder = folder.join("partitions").join(partition.to_string());
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|file| file.unwrap().path());
    let segments: BTreeMap<_, _> = files
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .map(|path| (path.clone(), path))
        .collect();
    assert!(segments.len() > 2, "{segments:?}");
    flip_in_the_middle(segments.values().nth(segments.len() / 2).unwrap());
}

fn flip_in_the_middle(path: &Path) {
    let mut options = std::fs::OpenOptions::new();
    let file = options.read(true).write(true).open(path).unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut bytes = [0; 16];
    file.read_exact_at(&mut bytes, middle).unwrap();
    let flipped = bytes.map(|byte| !byte);
    file.write_all_at(&flipped, middle).unwrap();
}

async fn id(client: &Client, topic: &TopicName) -> PartitionId {
    partitions(client, topic).await[0].id
}

async fn out_of_sync(client: &Client, topic: &TopicName, spu: SpuId) {
    eventually("the damaged replica is out of sync", || async {
        let partitions = partitions(client, topic).await;
        (!partitions[0].status.isr.contains(&spu)).then_some(())
    })
    .await;
}

/// Damages the copy of the SPU that is `chosen` by who leads, while a producer works.
async fn is_filled_anew(chosen: impl Fn(SpuId) -> SpuId) {
    let cluster = LocalCluster::start_with(SPUS, &[SCRUB]).await;
    let config = [("min.insync.replicas", "2"), SEGMENTS];
    let topic = cluster
        .create_replicated_topic("numbers", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(30_000).await;
    let damaged = chosen(leader(&client, &topic).await);

    damage(&cluster, damaged, id(&client, &topic).await);
    eventually("the damaged copy goes", || async {
        let log = cluster.spu(damaged.0).log_text();
        log.contains("removed a damaged copy").then_some(())
    })
    .await;
    assert_ne!(leader(&client, &topic).await, damaged, "it may not lead");
    workload.progress(5_000).await;
    all_in_sync(&client, &topic).await;

    assert_nothing_is_lost(workload, cluster, &client, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_follower_is_filled_anew_and_joins_again() {
    is_filled_anew(|leader| SpuId((leader.0 + 1) % SPUS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_leader_hands_over_is_filled_anew_and_joins_again() {
    is_filled_anew(|leader| leader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_the_removal_and_the_refill_and_another_sc_meanwhile_lose_nothing() {
    // Nobody is given up while it is paused.
    let patient = ["--spu-timeout=10m"];
    let mut cluster = LocalCluster::start_configured(SPUS, &patient, &[SCRUB]).await;
    let config = [("min.insync.replicas", "2"), SEGMENTS];
    let topic = cluster
        .create_replicated_topic("numbers", 1, SPUS, &config)
        .await;
    let client = cluster.client().await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(30_000).await;
    let (leads, partition) = (leader(&client, &topic).await, id(&client, &topic).await);
    let damaged = SpuId((leads.0 + 1) % SPUS);
    let data_dir = cluster.path(&format!("spu-{damaged}"));

    // It has nobody to copy from until the leader goes on.
    cluster.spu(leads.0).pause().unwrap();
    damage(&cluster, damaged, partition);
    eventually("the SC tells of the replica that is refilled", || async {
        let failed = client.admin().failed_replicas(Some(&topic)).await.unwrap();
        let refilling = failed.first()?;
        (refilling.is_refilling && refilling.spu == damaged).then_some(())
    })
    .await;
    assert!(log_bytes(&data_dir, partition).unwrap().is_empty());
    cluster.take_spu(damaged.0).kill();
    cluster.take_sc().kill();
    cluster.start_sc();
    cluster.start_spu(damaged.0);
    cluster.spu(leads.0).resume().unwrap();

    workload.progress(5_000).await;
    all_in_sync(&client, &topic).await;
    assert_nothing_is_lost(workload, cluster, &client, &topic).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_copy_in_sync_is_kept_although_it_is_damaged() {
    let mut cluster = LocalCluster::start_with(2, &[SCRUB]).await;
    let config = [("min.insync.replicas", "1"), SEGMENTS];
    let topic = cluster
        .create_replicated_topic("numbers", 1, 2, &config)
        .await;
    let client = cluster.client().await;
    let leads = leader(&client, &topic).await;
    let partition = id(&client, &topic).await;
    let other = SpuId(1 - leads.0);
    cluster.take_spu(other.0).kill();
    out_of_sync(&client, &topic, other).await;
    let workload = Workload::start(&client, &topic).await;
    workload.progress(30_000).await;
    workload.finish().await;
    let folder = cluster.path(&format!("spu-{leads}"));
    let before = log_bytes(&folder, partition).unwrap().len();

    damage(&cluster, leads, partition);
    eventually("the partition says why nobody leads it", || async {
        let listed = cluster.thalweg(&["partition", "list", "numbers"]);
        let listed = String::from_utf8(listed.stdout).unwrap();
        let offline = format!("numbers-0 is offline: the replica on SPU {leads} has failed: ");
        let failed = format!("numbers-0 has failed on SPU {leads}: batch at offset ");
        (listed.contains(&offline) && listed.contains(&failed)).then_some(())
    })
    .await;
    cluster.start_spu(other.0);
    cluster.all_online().await;

    // The other one lacks what was acknowledged since: it does not lead, and the damaged one stays.
    let listed = partitions(&client, &topic).await;
    assert_eq!(listed[0].status.leader, None);
    assert_eq!(listed[0].status.isr, [leads]);
    assert_eq!(log_bytes(&folder, partition).unwrap().len(), before);
}
