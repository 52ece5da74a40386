//! What outlives the SC.

use std::collections::BTreeSet;
use std::path::Path;

use thalweg_metadata::{MetadataStore, SledOptions, SledStore, Write};
use thalweg_proto::error_code;
use thalweg_proto::v1::{
    AllocateProducerIdsRequest, DescribeClusterRequest, ListTopicsRequest, Partition, ReplicaState,
    TopicState,
};
use thalweg_types::resource::{
    self, ReplicaPlacement, Resource, ResourceKind, Topic, TopicSpec, TopicStatus,
};
use thalweg_types::{ChainSpec, ErrorCode, TopicConfig, TopicId};
use uuid::Uuid;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, within};

#[tokio::test]
async fn a_restarted_sc_knows_everything_and_begins_a_new_reign() {
    let mut sc = TestSc::start().await;
    let spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 3, 1).await.unwrap();
    let before = sc.get_topic("t").await.unwrap();
    let cluster_id = sc.sc().cluster_id();

    sc.restart().await;
    drop(spu);
    let spu = FakeSpu::new(&sc, 0).await;

    assert_eq!(sc.sc().cluster_id(), cluster_id);
    assert_eq!(
        sc.get_topic("t").await.unwrap(),
        before,
        "not even an epoch has changed"
    );
    assert_eq!(spu.registered.controller_epoch, 2);
    let described = sc
        .admin()
        .describe_cluster(DescribeClusterRequest {})
        .await
        .unwrap();
    assert_eq!(described.into_inner().controller_epoch, 2);
}

#[tokio::test]
async fn spus_hear_that_the_sc_stops() {
    let mut sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;

    sc.stop().await;

    assert_eq!(error_code(&spu.end().await), ErrorCode::Unavailable);
}

#[tokio::test]
async fn producer_ids_are_never_given_out_twice() {
    let mut sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let mut seen = BTreeSet::new();

    for _ in 0..3 {
        for _ in 0..3 {
            let request = AllocateProducerIdsRequest { spu_id: 0 };
            let block = sc.control().allocate_producer_ids(request).await.unwrap();
            let block = block.into_inner();
            assert!(block.first >= 0 && block.count > 0);
            for id in block.first..block.first + i64::from(block.count) {
                assert!(seen.insert(id), "{id} was given out before");
            }
        }
        sc.restart().await;
    }

    let unknown = AllocateProducerIdsRequest { spu_id: 9 };
    let status = sc
        .control()
        .allocate_producer_ids(unknown)
        .await
        .unwrap_err();
    assert_eq!(error_code(&status), ErrorCode::NotFound);
}

/// Stores a topic as a crash would have left it.
async fn leave_topic(directory: &Path, state: resource::TopicState) {
    let store = SledStore::open(directory, SledOptions::default())
        .await
        .unwrap();
    let mut topic = None;
    for row in store.list(ResourceKind::Topic).await.unwrap() {
        if let Resource::Topic(row) = row {
            topic = Some(row);
        }
    }
    let write = match topic {
        Some(topic) => Write::Update(
            Topic {
                status: TopicStatus {
                    state,
                    reason: String::new(),
                },
                ..topic
            }
            .into(),
        ),
        None => Write::Create(
            Topic {
                name: "t".parse().unwrap(),
                id: TopicId(Uuid::from_u128(5)),
                spec: TopicSpec {
                    placement: ReplicaPlacement::Computed {
                        partitions: 3,
                        replication_factor: 1,
                    },
                    config: TopicConfig::default(),
                    produce_chain: ChainSpec::default(),
                },
                status: TopicStatus {
                    state,
                    reason: String::new(),
                },
                version: resource::ResourceVersion(0),
            }
            .into(),
        ),
    };
    store.write(vec![write]).await.unwrap().remove(0).unwrap();
}

#[tokio::test]
async fn a_creation_that_a_crash_cut_short_is_finished() {
    let directory = tempfile::tempdir().unwrap();
    leave_topic(directory.path(), resource::TopicState::Pending).await;

    let sc = TestSc::start_on(directory, &["--spu-timeout=10m"]).await;
    let until_reason = async {
        loop {
            let topic = sc.get_topic("t").await.unwrap().topic.unwrap();
            let reason = topic.status.unwrap().reason;
            if !reason.is_empty() {
                return reason;
            }
            tokio::task::yield_now().await;
        }
    };
    let reason = within("the topic says what it lacks", until_reason).await;
    assert_eq!(
        reason,
        "1 replica asked for, 0 SPUs are online and not draining, see `thalweg spu list`"
    );

    let _spu = FakeSpu::new(&sc, 0).await;

    let topic = sc.get_topic("t").await.unwrap();
    assert_eq!(topic.partitions.len(), 3);
    assert_eq!(
        topic.topic.unwrap().status.unwrap().state(),
        TopicState::Provisioned
    );
}

#[tokio::test]
async fn a_deletion_that_a_crash_cut_short_is_finished() {
    let mut sc = TestSc::start().await;
    let spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 3, 1).await.unwrap();
    sc.stop().await;
    drop(spu);
    leave_topic(sc.directory.path(), resource::TopicState::Deleting).await;

    let sc = TestSc::start_on(sc.directory, &["--spu-timeout=10m"]).await;

    let until_gone = async {
        loop {
            let topics = sc.admin().list_topics(ListTopicsRequest {}).await.unwrap();
            if topics.into_inner().topics.is_empty() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the topic is gone", until_gone).await;
    let spu = FakeSpu::new(&sc, 0).await;
    assert!(spu.partitions().is_empty());
}

#[tokio::test]
async fn a_replica_that_failed_does_not_lead_under_a_restarted_sc_once_it_says_so_again() {
    let mut sc = TestSc::start().await;
    let spu = FakeSpu::new(&sc, 0).await;
    sc.create_topic("t", 1, 1).await.unwrap();
    let led = |leader: i32| {
        move |partitions: &[Partition]| {
            let status = partitions.first().and_then(|first| first.status.as_ref());
            status.is_some_and(|status| status.leader == Some(leader))
        }
    };
    let nobody_leads = |partitions: &[Partition]| {
        let status = partitions.first().and_then(|first| first.status.as_ref());
        status.is_some_and(|status| status.leader.is_none())
    };
    let partition = sc.until_partitions("t", led(0)).await.remove(0);
    spu.report(&stored(partition), ReplicaState::Failed).await;
    let lost = sc.until_partitions("t", nobody_leads).await.remove(0);
    drop(spu);

    sc.restart().await;
    let spu = FakeSpu::new(&sc, 0).await;
    // It has forgotten why nobody leads, and tries again.
    let again = sc.until_partitions("t", led(0)).await.remove(0);
    spu.report(&stored(lost), ReplicaState::Failed).await;
    spu.report(&stored(again), ReplicaState::Failed).await;

    sc.until_partitions("t", nobody_leads).await;
}

fn stored(partition: Partition) -> resource::Partition {
    partition.try_into().unwrap()
}
