//! Replicas that have failed, are made anew, and join again.

use thalweg_proto::v1::{
    InSyncReplica, IsrChange, IsrChanges, ListPartitionsRequest, ReplicaState, spu_message,
};
use thalweg_types::SpuId;
use thalweg_types::resource::Partition;

use crate::fake_spu::FakeSpu;
use crate::test_sc::TestSc;

/// The leader of the one partition, its follower, and the partition.
async fn leader_and_follower(sc: &TestSc) -> (FakeSpu, FakeSpu, Partition) {
    let mut leader = FakeSpu::new(sc, 0).await;
    let follower = FakeSpu::new(sc, 1).await;
    sc.create_topic("t", 1, 2).await.unwrap();
    leader.until(|spu| !spu.partitions().is_empty()).await;
    let partition = leader.partitions()[0].clone();
    assert_eq!(partition.status.leader, Some(SpuId(0)));
    leader.report(&partition, ReplicaState::Serving).await;
    (leader, follower, partition)
}

/// The follower says that its copy has failed, and hears that it may go.
async fn fail(leader: &mut FakeSpu, follower: &mut FakeSpu, partition: &Partition) {
    follower
        .report_copy(partition, 4, ReplicaState::Failed)
        .await;
    leader
        .until(|spu| spu.partitions()[0].status.isr == [SpuId(0)])
        .await;
    follower.until(|spu| !spu.refills.is_empty()).await;
    let refill = follower.refills.remove(0);
    assert_eq!(
        (refill.topic_id, refill.partition, refill.copy),
        (partition.id.topic.to_string(), 0, 4)
    );
}

/// The leader asks that the follower join with this copy; whether it does.
async fn joins(leader: &mut FakeSpu, copy: u64) -> bool {
    let partition = leader.partitions()[0].clone();
    let member = |spu_id, copy| InSyncReplica {
        spu_id,
        incarnation: 1,
        copy,
    };
    let change = IsrChange {
        topic_id: partition.id.topic.to_string(),
        partition: 0,
        leader_epoch: partition.status.leader_epoch.0,
        partition_epoch: partition.status.partition_epoch.0,
        isr: vec![member(0, 1), member(1, copy)],
    };
    let changes = vec![change];
    leader
        .send(spu_message::Message::IsrChanges(IsrChanges { changes }))
        .await;
    leader.refusals.clear();
    leader
        .until(|spu| !spu.refusals.is_empty() || spu.partitions()[0].status.isr.len() == 2)
        .await;
    leader.refusals.is_empty()
}

/// What `partition list` is told of replicas that have failed: whether they are being refilled.
async fn failed(sc: &TestSc) -> Vec<bool> {
    let request = ListPartitionsRequest::default();
    let listed = sc.admin().list_partitions(request).await.unwrap();
    let failed = listed.into_inner().failed.into_iter();
    failed.map(|failed| failed.is_refilling).collect()
}

#[tokio::test]
async fn a_failed_replica_joins_again_only_with_the_copy_that_it_says_it_has() {
    let sc = TestSc::start().await;
    let (mut leader, mut follower, partition) = leader_and_follower(&sc).await;
    fail(&mut leader, &mut follower, &partition).await;
    assert_eq!(failed(&sc).await, [false]);
    assert!(!joins(&mut leader, 4).await, "it has failed");

    follower
        .report_copy(&partition, 5, ReplicaState::Serving)
        .await;
    while failed(&sc).await != [true] {}
    assert!(!joins(&mut leader, 4).await, "that copy is gone");
    assert!(joins(&mut leader, 5).await);
    assert!(failed(&sc).await.is_empty());
}

#[tokio::test]
async fn an_sc_that_has_not_heard_which_copy_a_replica_is_lets_none_join() {
    let mut sc = TestSc::start().await;
    let (mut leader, mut follower, partition) = leader_and_follower(&sc).await;
    fail(&mut leader, &mut follower, &partition).await;
    sc.restart().await;
    let mut leader = FakeSpu::new(&sc, 0).await;
    let follower = FakeSpu::new(&sc, 1).await;

    assert!(!joins(&mut leader, 4).await);

    follower
        .report_copy(&partition, 5, ReplicaState::Serving)
        .await;
    assert!(!joins(&mut leader, 4).await);
    while !joins(&mut leader, 5).await {}
}

#[tokio::test]
async fn the_only_replica_in_sync_is_not_let_go() {
    let sc = TestSc::start().await;
    let (mut leader, mut follower, partition) = leader_and_follower(&sc).await;
    fail(&mut leader, &mut follower, &partition).await;

    leader
        .report_copy(&partition, 1, ReplicaState::Failed)
        .await;
    leader
        .until(|spu| spu.partitions()[0].status.leader.is_none())
        .await;
    let lost = leader.partitions()[0].clone();
    leader.report_copy(&lost, 1, ReplicaState::Failed).await;
    // Reports are taken in order: once this one has shown, the one before it has been answered.
    leader.report_copy(&lost, 1, ReplicaState::Serving).await;
    leader
        .until(|spu| spu.partitions()[0].status.leader == Some(SpuId(0)))
        .await;
    assert!(leader.refills.is_empty(), "{:?}", leader.refills);
    assert_eq!(leader.partitions()[0].status.isr, [SpuId(0)]);
}
