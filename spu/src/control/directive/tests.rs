use thalweg_types::resource::{
    OutputPartitioning, PartitionSpec, PartitionStatus, ReplicaPlacement, ResourceVersion,
    SmartModuleSpec, StartPosition, TopicSpec, TopicStatus, TransformNumber, TransformSpec,
    TransformState, TransformStatus,
};
use thalweg_types::{
    ChainSpec, CompressionPolicy, LeaderEpoch, PartitionEpoch, PartitionId, PartitionIndex, SpuId,
    TopicConfig, TopicId, TopicName,
};
use uuid::Uuid;

use super::*;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(9));

fn cluster() -> Cluster {
    Cluster {
        id: CLUSTER,
        internal_client_id: Some("__sc".into()),
    }
}

fn topic(id: u128, state: TopicState) -> Topic {
    Topic {
        name: TopicName::new("orders").unwrap(),
        id: TopicId(Uuid::from_u128(id)),
        spec: TopicSpec {
            placement: ReplicaPlacement::Computed {
                partitions: 1,
                replication_factor: 1,
            },
            config: TopicConfig::default(),
            produce_chain: ChainSpec::default(),
        },
        status: TopicStatus {
            state,
            reason: String::new(),
        },
        version: ResourceVersion(1),
    }
}

fn late() -> SmartModule {
    SmartModule {
        name: "late".parse().unwrap(),
        spec: SmartModuleSpec {
            current: "1.0.0".parse().unwrap(),
            revisions: Vec::new(),
            leaving: false,
        },
        version: ResourceVersion(1),
    }
}

fn late_orders(number: u64) -> Transform {
    Transform {
        name: "late-orders".parse().unwrap(),
        number: TransformNumber(number),
        backfill_number: None,
        spec: TransformSpec {
            inputs: vec![TopicName::new("orders").unwrap()],
            outputs: vec![TopicName::new("late").unwrap()],
            chain: ChainSpec::default(),
            start: StartPosition::Beginning,
            partitioning: OutputPartitioning::Key,
            compression: CompressionPolicy::Producer,
            dedup: None,
            tables: Vec::new(),
            capabilities: thalweg_types::Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        },
        status: TransformStatus {
            state: TransformState::Running,
            reason: String::new(),
            history: Vec::new(),
        },
        version: ResourceVersion(1),
    }
}

#[test]
fn transforms_come_change_and_go() {
    let snapshot_of_one = v1::ClusterSnapshot {
        controller_epoch: 1,
        transforms: vec![late_orders(7).into()],
        ..v1::ClusterSnapshot::default()
    };
    let name = late_orders(7).name;
    let view = snapshot(&cluster(), ControllerEpoch(1), snapshot_of_one).unwrap();
    assert_eq!(view.transforms[&name].number, TransformNumber(7));
    assert_eq!(view.transforms[&name].state, TransformState::Running);

    let view = delta(view, upserts(1, vec![late_orders(8).into()])).unwrap();
    assert_eq!(view.transforms[&name].number, TransformNumber(8));

    let deletion = v1::ClusterDelta {
        controller_epoch: 1,
        upserted: Vec::new(),
        deleted: vec![ResourceKey::Transform(name).into()],
    };
    assert!(delta(view, deletion).unwrap().transforms.is_empty());
}

fn partition(topic: u128) -> Partition {
    Partition {
        topic: TopicName::new("orders").unwrap(),
        id: PartitionId {
            topic: TopicId(Uuid::from_u128(topic)),
            partition: PartitionIndex(0),
        },
        spec: PartitionSpec::held_by(vec![SpuId(0)]),
        status: PartitionStatus {
            leader: Some(SpuId(0)),
            leader_epoch: LeaderEpoch(1),
            isr: vec![SpuId(0)],
            partition_epoch: PartitionEpoch(1),
            reason: String::new(),
            unclean_elections: 0,
        },
        version: ResourceVersion(1),
    }
}

fn upserts(epoch: u64, resources: Vec<Resource>) -> v1::ClusterDelta {
    v1::ClusterDelta {
        controller_epoch: epoch,
        upserted: resources.into_iter().map(Into::into).collect(),
        deleted: Vec::new(),
    }
}

fn with_topic() -> View {
    let resources = vec![
        partition(1).into(),
        topic(1, TopicState::Provisioned).into(),
    ];
    delta(View::default(), upserts(1, resources)).unwrap()
}

#[test]
fn a_partition_may_come_before_its_topic_in_one_message() {
    let view = with_topic();

    let name = TopicName::new("orders").unwrap();
    assert!(view.partition(&name, PartitionIndex(0)).is_some());
}

#[test]
fn a_topic_that_is_deleted_and_created_again_in_one_message_is_the_new_one() {
    let mut message = upserts(
        1,
        vec![
            topic(2, TopicState::Provisioned).into(),
            partition(2).into(),
        ],
    );
    let name = TopicName::new("orders").unwrap();
    message.deleted = vec![ResourceKey::Topic(name.clone()).into()];

    let view = delta(with_topic(), message).unwrap();

    assert_eq!(view.topic(&name).unwrap().id, TopicId(Uuid::from_u128(2)));
    assert_eq!(view.topic_names.len(), 1);
}

#[test]
fn a_topic_that_is_being_deleted_is_gone() {
    let deleting = topic(1, TopicState::Deleting).into();

    let view = delta(
        with_topic(),
        upserts(1, vec![deleting, partition(1).into()]),
    )
    .unwrap();

    assert!(view.topics.is_empty());
}

#[test]
fn an_older_controller_is_not_followed() {
    let mut view = with_topic();
    view.controller_epoch = ControllerEpoch(5);

    let error = delta(view, upserts(4, Vec::new())).unwrap_err();
    assert!(matches!(error, DirectiveError::OlderController { .. }));
    let message = v1::ClusterSnapshot {
        controller_epoch: 4,
        ..v1::ClusterSnapshot::default()
    };
    assert!(snapshot(&cluster(), ControllerEpoch(5), message).is_err());
}

#[test]
fn a_snapshot_is_all_there_is() {
    let message = v1::ClusterSnapshot {
        controller_epoch: 1,
        topics: vec![topic(1, TopicState::Provisioned).into()],
        partitions: vec![partition(1).into()],
        smart_modules: vec![late().into()],
        ..v1::ClusterSnapshot::default()
    };

    let view = snapshot(&cluster(), ControllerEpoch(1), message).unwrap();

    assert_eq!(view.cluster_id, Some(CLUSTER));
    assert_eq!(view.topics, with_topic().topics);
    assert!(view.smart_modules.contains_key(&late().name));
    assert_eq!(view.internal_client_id.as_deref(), Some("__sc"));
}

#[test]
fn smartmodules_come_change_and_go_with_the_deltas() {
    let mut changed = late();
    changed.spec.current = "2.0.0".parse().unwrap();
    let view = View::default();

    let view = delta(view, upserts(1, vec![late().into()])).unwrap();
    let view = delta(view, upserts(1, vec![changed.clone().into()])).unwrap();
    assert_eq!(*view.smart_modules[&changed.name], changed.spec);

    let deleted = v1::ClusterDelta {
        controller_epoch: 1,
        deleted: vec![ResourceKey::SmartModule(changed.name).into()],
        ..v1::ClusterDelta::default()
    };
    assert!(delta(view, deleted).unwrap().smart_modules.is_empty());
}

#[test]
fn addresses_are_split_at_the_port() {
    assert_eq!(split_address("host:9092"), Some(("host", 9092)));
    assert_eq!(split_address("[::1]:9092"), Some(("::1", 9092)));
    for wrong in ["host", ":9092", "host:", "host:x", "host:99999"] {
        assert_eq!(split_address(wrong), None, "{wrong}");
    }
}
