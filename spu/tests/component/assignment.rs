//! The SPU holds what the SC assigns to it, and nothing else.

use thalweg_spu::replica::{ProduceError, ReplicaError};
use thalweg_types::{LeaderEpoch, PartitionId, PartitionIndex, TopicId};

use crate::harness::{append, leader, name, offset, start, try_leader, until, values, view_where};
use crate::scripted_sc::{Script, ScriptedSc};

fn partition_path(data_dir: &std::path::Path, topic: TopicId) -> std::path::PathBuf {
    let id = PartitionId {
        topic,
        partition: PartitionIndex(0),
    };
    data_dir.join("partitions").join(id.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assigned_partition_is_led_and_serves_what_it_was_given() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("before", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    script.create_topic("after", 2, &[]);

    for (topic, partition) in [("before", 0), ("after", 0), ("after", 1)] {
        let replica = leader(&spu, topic, partition).await;
        let first = append(&replica, &["a", "b"]).await.unwrap();
        let second = append(&replica, &["c"]).await.unwrap();

        assert_eq!(
            (first.base_offset, second.base_offset),
            (offset(0), offset(2))
        );
        assert_eq!(replica.high_watermark(), offset(3));
        assert_eq!(values(&replica), ["a", "b", "c"]);
    }
    assert!(matches!(
        try_leader(&spu, "elsewhere", 0),
        Err(ReplicaError::UnknownTopicOrPartition { .. })
    ));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_waits_is_woken_by_the_next_commit() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;

    let (_woken, appended) =
        tokio::join!(replica.wait_for_data(offset(0)), append(&replica, &["a"]));

    assert_eq!(appended.unwrap().next_offset, replica.high_watermark());
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_gone_with_its_data() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let id = script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    append(&replica, &["a"]).await.unwrap();
    let path = partition_path(dir.path(), id);
    assert!(path.exists());

    script.delete_topic("orders");

    until("the data is gone", || (!path.exists()).then_some(())).await;
    let error = append(&replica, &["b"]).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::LeadershipEnded { .. }),
        "{error}"
    );
    // A waiting consumer is told as well.
    replica.wait_for_data(offset(1)).await;
    assert!(replica.has_ended());
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_deleted_while_the_spu_was_down_is_gone_after_its_start() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let id = script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    append(&leader(&spu, "orders", 0).await, &["a"])
        .await
        .unwrap();
    spu.stop().await;
    script.delete_topic("orders");
    script.create_topic("orders", 1, &[]);

    let spu = start(&sc.address.to_string(), dir.path()).await;

    let path = partition_path(dir.path(), id);
    until("the data is gone", || (!path.exists()).then_some(())).await;
    let replica = until("the new topic is led", || {
        try_leader(&spu, "orders", 0)
            .ok()
            .filter(|replica| replica.id().topic != id)
    })
    .await;
    assert_eq!(replica.high_watermark(), offset(0));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_epoch_ends_the_old_reign_and_fences_its_clients() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let old = leader(&spu, "orders", 0).await;
    append(&old, &["a"]).await.unwrap();

    script.elect("orders", 0, Some(0));
    let new = until("the new reign has begun", || {
        try_leader(&spu, "orders", 0)
            .ok()
            .filter(|replica| replica.leader_epoch() == LeaderEpoch(2))
    })
    .await;

    assert!(old.has_ended());
    assert!(append(&old, &["b"]).await.is_err());
    append(&new, &["c"]).await.unwrap();
    assert_eq!(values(&new), ["a", "c"]);
    let ask = |epoch| {
        let replicas = &spu.context().replicas;
        replicas.leader(&name("orders"), PartitionIndex(0), Some(LeaderEpoch(epoch)))
    };
    assert!(matches!(
        ask(1),
        Err(ReplicaError::FencedLeaderEpoch { .. })
    ));
    assert!(ask(2).is_ok());
    assert!(matches!(
        ask(3),
        Err(ReplicaError::UnknownLeaderEpoch { .. })
    ));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_nobody_is_served() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    leader(&spu, "orders", 0).await;

    script.elect("orders", 0, None);

    let error = until("it stops leading", || try_leader(&spu, "orders", 0).err()).await;
    assert!(
        matches!(
            error,
            ReplicaError::NotLeader { .. } | ReplicaError::Failed { .. }
        ),
        "{error}"
    );
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_settings_reach_a_running_log() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    assert!(replica.min_isr_met());

    script.set_config("orders", "segment.bytes", "8KiB");
    script.set_config("orders", "min.insync.replicas", "2");

    until("the log has it", || {
        (replica.log().options().segment_bytes == 8192).then_some(())
    })
    .await;
    until("the replica has it", || {
        (!replica.min_isr_met()).then_some(())
    })
    .await;
    let error = append(&replica, &["a"]).await.unwrap_err();
    assert!(
        matches!(error, ProduceError::NotEnoughReplicas { .. }),
        "{error}"
    );
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_controller_is_not_followed() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    script.set_controller_epoch(5);
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;

    script.set_controller_epoch(4);
    script.delete_topic("orders");
    // The SPU hangs up on the old one and comes back, and the old one is still refused.
    script.wait_for_registrations(3).await;

    assert!(!replica.has_ended());
    append(&replica, &["a"]).await.unwrap();
    script.set_controller_epoch(6);
    view_where(&spu, |view| view.topics.is_empty()).await;
    spu.stop().await;
}
