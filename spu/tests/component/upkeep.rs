//! What the SPU does to its logs without being asked.

use std::os::unix::fs::FileExt;
use std::time::Duration;

use thalweg_proto::v1::ReplicaState;
use thalweg_types::{PartitionId, PartitionIndex};

use crate::harness::{append, leader, offset, options, try_leader, try_start, until};
use crate::scripted_sc::{Script, ScriptedSc};

#[tokio::test(flavor = "multi_thread")]
async fn segments_over_the_limit_go_by_themselves() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let config = [("segment.bytes", "4096"), ("retention.bytes", "8192")];
    script.create_topic("orders", 1, &config);
    let mut options = options(&sc.address.to_string(), dir.path());
    options.retention_interval = Duration::from_millis(20);
    let spu = try_start(options).await.unwrap();
    let replica = leader(&spu, "orders", 0).await;

    let value = "x".repeat(1000);
    for _ in 0..30 {
        append(&replica, &[&value]).await.unwrap();
    }

    until("old segments are gone", || {
        (replica.log().log_start() > offset(0)).then_some(())
    })
    .await;
    assert_eq!(replica.high_watermark(), offset(30));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_disk_is_found_reported_and_not_led_over() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let topic = script.create_topic("orders", 1, &[("segment.bytes", "4096")]);
    let mut options = options(&sc.address.to_string(), dir.path());
    options.scrub_bytes_per_second = 1 << 20;
    let spu = try_start(options).await.unwrap();
    let replica = leader(&spu, "orders", 0).await;
    let value = "x".repeat(1000);
    for _ in 0..10 {
        append(&replica, &[&value]).await.unwrap();
    }

    let id = PartitionId {
        topic,
        partition: PartitionIndex(0),
    };
    let partition = dir.path().join("partitions").join(id.to_string());
    let segment = partition.join("00000000000000000000.log");
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(segment)
        .unwrap();
    file.write_all_at(b"!", 500).unwrap();

    let reason = script.wait_for_report(0, ReplicaState::Failed).await;
    assert!(!reason.is_empty());
    until("it stops leading", || try_leader(&spu, "orders", 0).err()).await;
    spu.stop().await;
}
