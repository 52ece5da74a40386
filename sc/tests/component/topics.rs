//! Creating, changing and deleting topics.

use std::collections::BTreeSet;

use thalweg_proto::error_code;
use thalweg_proto::v1::topic_spec::Placement;
use thalweg_proto::v1::{
    AssignedPlacement, ChainSpec, ChainStep, CreateTopicRequest, DeleteTopicRequest,
    ListPartitionsRequest, ListTopicsRequest, ReplicaList, Topic, TopicSpec, TopicState,
    UpdateTopicRequest,
};
use thalweg_types::ErrorCode;
use tonic::Status;

use crate::fake_spu::FakeSpu;
use crate::test_sc::{TestSc, create};

fn assigned(name: &str, partitions: &[&[i32]]) -> CreateTopicRequest {
    let mut request = create(name, 1, 1);
    request.spec = Some(TopicSpec {
        placement: Some(Placement::Assigned(AssignedPlacement {
            partitions: lists(partitions),
        })),
        config: [].into(),
        produce_chain: None,
    });
    request
}

fn lists(partitions: &[&[i32]]) -> Vec<ReplicaList> {
    let list = |spus: &&[i32]| ReplicaList {
        spus: spus.to_vec(),
    };
    partitions.iter().map(list).collect()
}

fn configured(settings: &[(&str, &str)]) -> CreateTopicRequest {
    let mut request = create("t", 1, 1);
    request.spec.as_mut().unwrap().config = settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    request
}

async fn update(sc: &TestSc, request: UpdateTopicRequest) -> Result<Topic, Status> {
    let updated = sc.admin().update_topic(request).await?;
    Ok(updated.into_inner().topic.unwrap())
}

fn change(name: &str) -> UpdateTopicRequest {
    UpdateTopicRequest {
        name: name.to_owned(),
        ..UpdateTopicRequest::default()
    }
}

#[tokio::test]
async fn a_new_topic_is_placed_led_and_told_to_the_spus() {
    let sc = TestSc::start().await;
    let mut first = FakeSpu::new(&sc, 0).await;
    let _second = FakeSpu::new(&sc, 1).await;

    let topic = sc.create_topic("flights", 4, 2).await.unwrap();

    assert_eq!(topic.status.unwrap().state(), TopicState::Provisioned);
    let partitions = sc.get_topic("flights").await.unwrap().partitions;
    assert_eq!(partitions.len(), 4);
    let mut leaders = Vec::new();
    for partition in partitions {
        assert_eq!(partition.topic_id, topic.topic_id);
        assert_eq!(partition.replicas.len(), 2);
        let status = partition.status.unwrap();
        assert_eq!(status.leader, Some(partition.replicas[0]));
        assert_eq!(status.isr, partition.replicas, "all logs are empty");
        assert_eq!((status.leader_epoch, status.partition_epoch), (0, 0));
        leaders.push(partition.replicas[0]);
    }
    leaders.sort_unstable();
    assert_eq!(leaders, [0, 0, 1, 1]);
    first
        .until(|spu| spu.partitions().len() == 4 && spu.topic("flights").is_some())
        .await;
}

#[tokio::test]
async fn replicas_stand_in_different_racks() {
    let sc = TestSc::start().await;
    let mut spus = Vec::new();
    for id in 0..4 {
        let register = thalweg_proto::v1::Register {
            rack: format!("r{}", id % 2),
            ..crate::fake_spu::registration(id)
        };
        spus.push(FakeSpu::register(&sc, register).await.unwrap());
    }

    sc.create_topic("t", 8, 2).await.unwrap();

    for partition in sc.get_topic("t").await.unwrap().partitions {
        let racks: BTreeSet<_> = partition.replicas.iter().map(|id| id % 2).collect();
        assert_eq!(racks.len(), 2, "{:?}", partition.replicas);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_new_topic_is_named_by_its_field() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let mut without_spec = create("t", 1, 1);
    without_spec.spec = None;

    for (request, message) in [
        (
            create("a b", 1, 1),
            "name: topic name `a b` has the character ` `",
        ),
        (create("", 1, 1), "name: a topic name can't be empty"),
        (without_spec, "spec: must be set"),
        (
            create("t", 0, 1),
            "spec.partitions: must be 1 to 10000, not 0",
        ),
        (
            create("t", 10_001, 1),
            "spec.partitions: must be 1 to 10000, not 10001",
        ),
        (
            create("t", 1, 0),
            "spec.replication_factor: must be at least 1, not 0",
        ),
        (
            create("t", 1, 3),
            "spec.replication_factor: 3 replicas asked for, 1 SPU is online and not draining, see `thalweg spu list`",
        ),
        (
            assigned("t", &[]),
            "spec.assigned.partitions: must be 1 to 10000, not 0",
        ),
        (
            assigned("t", &[&[]]),
            "spec.assigned.partitions[0]: names no SPU",
        ),
        (
            assigned("t", &[&[0], &[0, 0]]),
            "spec.assigned.partitions[1]: has 2 replicas",
        ),
        (
            assigned("t", &[&[0, 0]]),
            "spec.assigned.partitions[0]: names SPU 0 twice",
        ),
        (
            assigned("t", &[&[7]]),
            "spec.assigned.partitions[0]: SPU 7 is not registered, see `thalweg spu list`",
        ),
        (
            configured(&[("colour", "red")]),
            "spec.config.colour: unknown setting `colour`",
        ),
        (
            configured(&[("retention.ms", "soon")]),
            "spec.config.retention.ms: setting `retention.ms` can't be `soon`",
        ),
        (
            configured(&[("min.insync.replicas", "2")]),
            "spec.config.min.insync.replicas: 2 in-sync replicas asked for, the topic has 1",
        ),
    ] {
        let status = sc.admin().create_topic(request).await.unwrap_err();

        assert_eq!(error_code(&status), ErrorCode::InvalidRequest, "{status}");
        assert!(status.message().starts_with(message), "{status}");
    }
    let topics = sc.admin().list_topics(ListTopicsRequest {}).await.unwrap();
    assert!(topics.into_inner().topics.is_empty());
}

#[tokio::test]
async fn a_topic_that_exists_is_not_created_again() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let first = sc.create_topic("t", 1, 1).await.unwrap();

    let status = sc.create_topic("t", 2, 1).await.unwrap_err();

    assert_eq!(error_code(&status), ErrorCode::AlreadyExists);
    assert_eq!(status.message(), "topic `t` already exists");
    assert_eq!(sc.get_topic("t").await.unwrap().topic, Some(first));
}

#[tokio::test]
async fn validating_stores_nothing() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let request = CreateTopicRequest {
        validate_only: true,
        ..create("t", 3, 1)
    };

    let answer = sc.admin().create_topic(request).await.unwrap();

    assert_eq!(answer.into_inner().topic.unwrap().name, "t");
    let status = sc.get_topic("t").await.unwrap_err();
    assert_eq!(error_code(&status), ErrorCode::NotFound);
}

#[tokio::test]
async fn an_assignment_is_followed() {
    let sc = TestSc::start().await;
    let _spus = (FakeSpu::new(&sc, 0).await, FakeSpu::new(&sc, 1).await);

    sc.admin()
        .create_topic(assigned("t", &[&[1, 0], &[0, 1]]))
        .await
        .unwrap();

    let partitions = sc.get_topic("t").await.unwrap().partitions;
    assert_eq!(partitions[0].replicas, [1, 0]);
    assert_eq!(partitions[0].status.as_ref().unwrap().leader, Some(1));
    assert_eq!(partitions[1].replicas, [0, 1]);
}

#[tokio::test]
async fn a_chain_that_would_not_be_applied_is_refused() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    sc.admin().create_topic(create("t", 1, 1)).await.unwrap();
    let chain = ChainSpec {
        steps: vec![ChainStep {
            uses: "late".to_owned(),
            ..ChainStep::default()
        }],
    };
    let mut new = create("u", 1, 1);
    new.spec.as_mut().unwrap().produce_chain = Some(chain.clone());

    let created = sc.admin().create_topic(new).await.unwrap_err();
    let updated = UpdateTopicRequest {
        produce_chain: Some(chain),
        ..change("t")
    };
    let updated = update(&sc, updated).await.unwrap_err();

    for refused in [created, updated] {
        let message = refused.message();
        assert!(message.contains("produce_chain"), "{message}");
    }
}

#[tokio::test]
async fn settings_are_changed_and_returned_to_their_defaults() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    sc.admin()
        .create_topic(configured(&[
            ("durability", "memory"),
            ("segment.bytes", "1MiB"),
        ]))
        .await
        .unwrap();

    let request = UpdateTopicRequest {
        set_config: [("retention.ms".to_owned(), "7d".to_owned())].into(),
        unset_config: vec!["durability".to_owned()],
        ..change("t")
    };
    let topic = update(&sc, request).await.unwrap();

    let config = topic.spec.unwrap().config;
    let config: Vec<_> = config
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(
        config,
        [("retention.ms", "604800000"), ("segment.bytes", "1048576")]
    );
    assert_eq!(topic.status.unwrap().state(), TopicState::Provisioned);
    let version = topic.version;
    spu.until(|spu| {
        spu.topic("t")
            .is_some_and(|topic| topic.version.0 == version)
    })
    .await;
}

#[tokio::test]
async fn partitions_are_added_and_told() {
    let sc = TestSc::start().await;
    let mut spus = (FakeSpu::new(&sc, 0).await, FakeSpu::new(&sc, 1).await);
    sc.create_topic("t", 1, 1).await.unwrap();

    let grow = |partitions, added: &[&[i32]]| UpdateTopicRequest {
        partitions: Some(partitions),
        added_assignments: lists(added),
        ..change("t")
    };
    update(&sc, grow(3, &[])).await.unwrap();
    update(&sc, grow(4, &[&[1]])).await.unwrap();
    let topic = update(&sc, grow(5, &[])).await.unwrap();

    assert_eq!(topic.status.unwrap().state(), TopicState::Provisioned);
    let partitions = sc.get_topic("t").await.unwrap().partitions;
    assert_eq!(partitions.len(), 5);
    assert_eq!(partitions[3].replicas, [1]);
    spus.0.until(|spu| spu.partitions().len() == 5).await;
}

#[tokio::test]
async fn what_is_wrong_with_a_change_is_named_by_its_field() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let topic = sc.create_topic("t", 3, 1).await.unwrap();
    let set = |key: &str, value: &str| UpdateTopicRequest {
        set_config: [(key.to_owned(), value.to_owned())].into(),
        ..change("t")
    };

    for (request, code, message) in [
        (
            UpdateTopicRequest {
                partitions: Some(2),
                ..change("t")
            },
            ErrorCode::InvalidRequest,
            "partitions: the topic has 3, and partitions can't be taken away",
        ),
        (
            UpdateTopicRequest {
                partitions: Some(4),
                added_assignments: lists(&[&[0], &[0]]),
                ..change("t")
            },
            ErrorCode::InvalidRequest,
            "added_assignments: 1 partitions are added, 2 are assigned",
        ),
        (
            UpdateTopicRequest {
                partitions: Some(4),
                added_assignments: lists(&[&[5]]),
                ..change("t")
            },
            ErrorCode::InvalidRequest,
            "added_assignments[0]: SPU 5 is not registered, see `thalweg spu list`",
        ),
        (
            UpdateTopicRequest {
                added_assignments: lists(&[&[0]]),
                ..change("t")
            },
            ErrorCode::InvalidRequest,
            "added_assignments: must be empty",
        ),
        (
            UpdateTopicRequest {
                unset_config: vec!["colour".to_owned()],
                ..change("t")
            },
            ErrorCode::InvalidRequest,
            "unset_config: unknown setting `colour`",
        ),
        (
            set("segment.ms", "never"),
            ErrorCode::InvalidRequest,
            "set_config.segment.ms: ",
        ),
        (
            set("min.insync.replicas", "2"),
            ErrorCode::InvalidRequest,
            "spec.config.min.insync.replicas: ",
        ),
        (
            UpdateTopicRequest {
                expected_version: Some(topic.version + 7),
                ..change("t")
            },
            ErrorCode::Conflict,
            "topic `t` has version",
        ),
        (
            change("other"),
            ErrorCode::NotFound,
            "topic `other` does not exist",
        ),
    ] {
        let status = update(&sc, request).await.unwrap_err();

        assert_eq!(error_code(&status), code, "{status}");
        assert!(status.message().starts_with(message), "{status}");
    }
    assert_eq!(sc.get_topic("t").await.unwrap().topic, Some(topic));
}

#[tokio::test]
async fn a_change_that_is_only_validated_or_changes_nothing_stores_nothing() {
    let sc = TestSc::start().await;
    let _spu = FakeSpu::new(&sc, 0).await;
    let topic = sc.create_topic("t", 1, 1).await.unwrap();

    let validated = UpdateTopicRequest {
        partitions: Some(5),
        validate_only: true,
        ..change("t")
    };
    update(&sc, validated).await.unwrap();
    update(&sc, change("t")).await.unwrap();

    assert_eq!(sc.get_topic("t").await.unwrap().topic, Some(topic));
}

#[tokio::test]
async fn a_deleted_topic_is_gone_and_its_name_gives_another_id() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;
    let first = sc.create_topic("t", 3, 1).await.unwrap();
    spu.until(|spu| spu.partitions().len() == 3).await;

    let request = DeleteTopicRequest {
        name: "t".to_owned(),
    };
    let deleted = sc.admin().delete_topic(request.clone()).await.unwrap();

    assert_eq!(deleted.into_inner().topic_id, first.topic_id);
    spu.until(|spu| spu.partitions().is_empty() && spu.topic("t").is_none())
        .await;
    let all = ListPartitionsRequest {
        topic: String::new(),
    };
    let partitions = sc
        .admin()
        .list_partitions(all)
        .await
        .unwrap()
        .into_inner()
        .partitions;
    assert!(partitions.is_empty());
    let again = sc.admin().delete_topic(request).await.unwrap_err();
    assert_eq!(error_code(&again), ErrorCode::NotFound);

    let second = sc.create_topic("t", 1, 1).await.unwrap();
    assert_ne!(second.topic_id, first.topic_id);
}

#[tokio::test]
async fn a_topic_that_does_not_exist_is_not_found() {
    let sc = TestSc::start().await;

    let partitions = ListPartitionsRequest {
        topic: "t".to_owned(),
    };
    let status = sc.admin().list_partitions(partitions).await.unwrap_err();

    assert_eq!(error_code(&status), ErrorCode::NotFound);
    let status = sc.get_topic("t").await.unwrap_err();
    assert_eq!(error_code(&status), ErrorCode::NotFound);
    assert!(status.message().contains("thalweg topic list"), "{status}");
}

#[tokio::test]
async fn topics_that_are_created_at_once_are_all_there() {
    let sc = TestSc::start().await;
    let mut spu = FakeSpu::new(&sc, 0).await;

    let names: Vec<_> = (0..30).map(|number| format!("t{number}")).collect();
    let creations = names.iter().map(|name| sc.create_topic(name, 20, 1));
    for created in futures::future::join_all(creations).await {
        assert_eq!(
            created.unwrap().status.unwrap().state(),
            TopicState::Provisioned
        );
    }

    spu.until(|spu| spu.partitions().len() == 600).await;
}
