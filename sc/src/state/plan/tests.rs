//! Plans, worked out and applied to rows in memory.

use thalweg_types::resource::{Resource, Spu, SpuSpec, SpuState, SpuStatus, TopicSpec};
use thalweg_types::{
    ChainSpec, DirectoryId, Incarnation, OnError, StepSpec, TopicConfig, TopicId, TopicName,
    TopicPartition,
};
use uuid::Uuid;

use super::*;

fn plan(observed: &Observed, unfit: &Unfit) -> Vec<Write> {
    super::plan(observed, unfit, 0)
}

fn name(text: &str) -> TopicName {
    text.parse().unwrap()
}

impl Observed {
    fn with_spus(ids: impl IntoIterator<Item = i32>) -> Self {
        let mut observed = Self::default();
        for id in ids {
            observed.set_spu(id, SpuState::Online);
        }
        observed
    }

    fn set_spu(&mut self, id: i32, state: SpuState) {
        let spu = Spu {
            id: SpuId(id),
            spec: SpuSpec::default(),
            status: SpuStatus {
                state,
                data_address: "127.0.0.1:9092".to_owned(),
                incarnation: Incarnation(1),
                directory_id: DirectoryId(Uuid::from_u128(1)),
                software_version: String::new(),
            },
            version: ResourceVersion(1),
        };
        self.spus.insert(spu.id, spu);
    }

    fn add_topic(&mut self, text: &str, id: u128, placement: ReplicaPlacement) {
        let topic = Topic {
            name: name(text),
            id: TopicId(Uuid::from_u128(id)),
            spec: TopicSpec {
                placement,
                config: TopicConfig::default(),
                produce_chain: ChainSpec::default(),
            },
            status: TopicStatus {
                state: TopicState::Pending,
                reason: String::new(),
            },
            version: ResourceVersion(1),
        };
        self.topics.insert(topic.name.clone(), topic);
    }

    fn topic(&mut self, text: &str) -> &mut Topic {
        self.topics.get_mut(&name(text)).unwrap()
    }

    fn partition(&self, topic: &str, partition: i32) -> &Partition {
        &self.partitions[&TopicPartition {
            topic: name(topic),
            partition: PartitionIndex(partition),
        }]
    }

    fn apply(&mut self, writes: Vec<Write>) {
        for write in writes {
            match write {
                Write::Create(row) | Write::Update(row) => self.insert(row),
                Write::Delete { key, .. } => self.remove(&key),
            }
        }
    }

    /// Applies plans until nothing is left to do.
    fn settle(&mut self, unfit: &Unfit) {
        for _ in 0..super::super::controller::ROUNDS_MAX {
            let writes = plan(self, unfit);
            if writes.is_empty() {
                return;
            }
            self.apply(writes);
        }
        panic!("plans without end: {:?}", plan(self, unfit));
    }
}

fn computed(partitions: i32, replication_factor: i32) -> ReplicaPlacement {
    ReplicaPlacement::Computed {
        partitions,
        replication_factor,
    }
}

#[test]
fn a_pending_topic_gets_its_partitions_and_is_then_provisioned() {
    let mut observed = Observed::with_spus([0, 1]);
    observed.add_topic("t", 1, computed(4, 2));

    observed.settle(&Unfit::new());

    assert_eq!(observed.partitions.len(), 4);
    assert_eq!(observed.topic("t").status.state, TopicState::Provisioned);
    let first = &observed.partition("t", 0);
    assert_eq!(first.spec.replicas.len(), 2);
    assert_eq!(first.status.leader, Some(first.spec.replicas[0]));
    assert_eq!(first.status.isr, first.spec.replicas);
}

#[test]
fn topics_of_one_plan_spread_over_the_spus_together() {
    let mut observed = Observed::with_spus([0, 1, 2, 3]);
    for topic in ["a", "b", "c", "d"] {
        observed.add_topic(topic, 1, computed(1, 1));
    }

    observed.settle(&Unfit::new());

    let leaders: BTreeSet<_> = observed
        .partitions
        .values()
        .map(|row| row.status.leader)
        .collect();
    assert_eq!(leaders.len(), 4);
}

#[test]
fn a_topic_that_lacks_spus_says_so_and_is_finished_when_they_come() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(1, 2));
    observed.settle(&Unfit::new());
    assert_eq!(
        observed.topic("t").status.reason,
        "2 replicas asked for, 1 SPU is online and not draining, see `thalweg spu list`"
    );

    observed.set_spu(1, SpuState::Online);
    observed.settle(&Unfit::new());

    assert_eq!(observed.topic("t").status.state, TopicState::Provisioned);
    assert_eq!(observed.topic("t").status.reason, "");
}

#[test]
fn a_topic_whose_chain_names_what_nobody_registered_says_so_and_is_placed() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(1, 1));
    let step = StepSpec {
        uses: "late".parse().unwrap(),
        with: BTreeMap::new(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    };
    let topic = observed.topics.get_mut(&name("t")).unwrap();
    topic.spec.produce_chain.steps.push(step);

    observed.settle(&Unfit::new());

    let status = &observed.topic("t").status;
    assert_eq!(status.state, TopicState::Provisioned);
    assert!(status.reason.contains("step 1"), "{}", status.reason);
    assert!(status.reason.contains("late"), "{}", status.reason);
    let topic = observed.topics.get_mut(&name("t")).unwrap();
    topic.spec.produce_chain.steps.clear();
    observed.settle(&Unfit::new());
    assert_eq!(observed.topic("t").status.reason, "");
}

#[test]
fn a_creation_that_was_cut_short_is_finished_and_keeps_what_it_had() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    observed.add_topic("t", 1, computed(6, 1));
    let mut writes = plan(&observed, &Unfit::new());
    writes.truncate(2);
    observed.apply(writes);
    let kept = observed.partition("t", 1).clone();

    observed.settle(&Unfit::new());

    assert_eq!(observed.partitions.len(), 6);
    assert_eq!(observed.partition("t", 1), &kept);
    assert_eq!(observed.topic("t").status.state, TopicState::Provisioned);
}

#[test]
fn partitions_that_are_added_leave_the_others_where_they_are() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    observed.add_topic("t", 1, computed(2, 1));
    observed.settle(&Unfit::new());
    let before = observed.partitions.clone();

    observed.topic("t").spec.placement = computed(5, 1);
    observed.settle(&Unfit::new());

    assert_eq!(observed.partitions.len(), 5);
    assert!(
        before
            .iter()
            .all(|(key, row)| observed.partitions[key] == *row)
    );
}

#[test]
fn an_assignment_is_followed() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    let assigned = vec![vec![SpuId(2), SpuId(0)], vec![SpuId(1)]];
    observed.add_topic("t", 1, ReplicaPlacement::Assigned(assigned));

    observed.settle(&Unfit::new());

    assert_eq!(
        observed.partition("t", 0).spec.replicas,
        [SpuId(2), SpuId(0)]
    );
    assert_eq!(observed.partition("t", 0).status.leader, Some(SpuId(2)));
    assert_eq!(observed.partition("t", 1).spec.replicas, [SpuId(1)]);
}

#[test]
fn a_topic_that_is_being_deleted_goes_after_its_partitions() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(3, 1));
    observed.settle(&Unfit::new());
    observed.topic("t").status.state = TopicState::Deleting;

    let first = plan(&observed, &Unfit::new());
    let keys: BTreeSet<_> = first.iter().map(Write::key).collect();
    assert!(
        !keys.contains(&ResourceKey::Topic(name("t"))),
        "partitions go first"
    );
    observed.settle(&Unfit::new());

    assert!(observed.topics.is_empty());
    assert!(observed.partitions.is_empty());
}

#[test]
fn partitions_of_a_former_topic_of_the_same_name_make_way() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(3, 1));
    observed.settle(&Unfit::new());

    observed.add_topic("t", 2, computed(1, 1));
    observed.settle(&Unfit::new());

    assert_eq!(observed.partitions.len(), 1);
    assert_eq!(
        observed.partition("t", 0).id.topic,
        TopicId(Uuid::from_u128(2))
    );
}

#[test]
fn partitions_without_a_topic_go() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(3, 1));
    observed.settle(&Unfit::new());

    observed.topics.clear();
    observed.settle(&Unfit::new());

    assert!(observed.partitions.is_empty());
}

#[test]
fn the_partitions_of_an_spu_that_is_lost_are_offline_until_it_is_back() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(1, 1));
    observed.settle(&Unfit::new());
    let epoch = observed.partition("t", 0).status.leader_epoch;

    observed.set_spu(0, SpuState::Offline);
    observed.settle(&Unfit::new());
    assert_eq!(observed.partition("t", 0).status.leader, None);

    observed.set_spu(0, SpuState::Online);
    observed.settle(&Unfit::new());
    assert_eq!(observed.partition("t", 0).status.leader, Some(SpuId(0)));
    assert!(observed.partition("t", 0).status.leader_epoch > epoch);
}

#[test]
fn a_failed_replica_does_not_lead_though_its_spu_is_online() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(2, 1));
    observed.settle(&Unfit::new());

    let failed = observed.partition("t", 0).id;
    let why = "checksum mismatch at offset 7".to_owned();
    observed.settle(&Unfit::from([((SpuId(0), failed), why)]));

    let status = &observed.partition("t", 0).status;
    assert_eq!(status.leader, None);
    assert_eq!(
        status.reason,
        "the replica on SPU 0 has failed: checksum mismatch at offset 7"
    );
    assert_eq!(observed.partition("t", 1).status.leader, Some(SpuId(0)));
}

impl Observed {
    fn drain(&mut self, id: i32) {
        let spu = self.spus.get_mut(&SpuId(id)).unwrap();
        spu.spec.draining = true;
    }

    /// Has every replica of every partition catch up.
    fn catch_up(&mut self) {
        for partition in self.partitions.values_mut() {
            partition.status.isr = partition.spec.replicas.clone();
        }
    }

    fn moving(&self) -> usize {
        let rows = self.partitions.values();
        rows.filter(|row| row.spec.moving.is_some()).count()
    }
}

#[test]
fn a_drained_spu_gives_up_what_it_leads_at_once_and_what_it_holds_as_others_catch_up() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    observed.add_topic("t", 1, computed(6, 2));
    observed.settle(&Unfit::new());

    observed.drain(0);
    observed.settle(&Unfit::new());

    let leads = |observed: &Observed| {
        let rows = observed.partitions.values();
        rows.filter(|row| row.status.leader == Some(SpuId(0)))
            .count()
    };
    assert_eq!(leads(&observed), 0);
    assert_eq!(
        observed.replicas_on(SpuId(0)),
        4,
        "no copy has been made yet"
    );
    assert_eq!(observed.moving(), 4);
    observed.catch_up();
    observed.settle(&Unfit::new());
    assert_eq!((observed.replicas_on(SpuId(0)), observed.moving()), (0, 0));
    let rows = observed.partitions.values();
    assert!(rows.into_iter().all(|row| row.spec.replicas.len() == 2));

    observed.add_topic("new", 2, computed(2, 2));
    observed.settle(&Unfit::new());
    assert_eq!(observed.replicas_on(SpuId(0)), 0, "it takes nothing new");
}

#[test]
fn a_bounded_number_of_replicas_leaves_at_a_time() {
    let mut observed = Observed::with_spus([0]);
    observed.add_topic("t", 1, computed(40, 1));
    observed.settle(&Unfit::new());
    observed.set_spu(1, SpuState::Online);

    observed.drain(0);
    observed.settle(&Unfit::new());
    assert_eq!(observed.moving(), 16);

    let mut rounds = 0;
    while observed.replicas_on(SpuId(0)) > 0 {
        observed.catch_up();
        observed.settle(&Unfit::new());
        rounds += 1;
    }
    assert_eq!(rounds, 3);
}

#[test]
fn what_no_other_spu_can_take_stays_and_leaves_once_one_can() {
    let mut observed = Observed::with_spus([0, 1]);
    observed.add_topic("t", 1, computed(1, 2));
    observed.settle(&Unfit::new());

    observed.drain(0);
    observed.settle(&Unfit::new());
    let partition = observed.partition("t", 0);
    assert_eq!(partition.spec.moving, None);
    let reason = super::super::held_up(&observed, partition, SpuId(0)).unwrap();
    assert!(reason.contains("no other SPU can take it"), "{reason}");

    observed.set_spu(2, SpuState::Online);
    observed.settle(&Unfit::new());
    let partition = observed.partition("t", 0);
    assert_eq!(partition.spec.settled(), [SpuId(2), SpuId(1)]);
    assert_eq!(super::super::held_up(&observed, partition, SpuId(0)), None);
}

#[test]
fn a_drained_replica_goes_to_a_rack_without_one() {
    let mut observed = Observed::with_spus([0, 1, 2, 3]);
    for (id, rack) in [(0, "a"), (1, "b"), (2, "b"), (3, "a")] {
        let spu = observed.spus.get_mut(&SpuId(id)).unwrap();
        spu.spec.rack = Some(rack.to_owned());
    }
    let assigned = vec![vec![SpuId(0), SpuId(1)]];
    observed.add_topic("t", 1, ReplicaPlacement::Assigned(assigned));
    observed.settle(&Unfit::new());

    observed.drain(0);
    observed.settle(&Unfit::new());

    let partition = observed.partition("t", 0);
    assert_eq!(partition.spec.settled(), [SpuId(3), SpuId(1)]);
}

#[test]
fn a_topic_has_as_many_replicas_as_its_partitions_after_moves() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    observed.add_topic("t", 1, computed(2, 1));
    observed.settle(&Unfit::new());

    for number in 0..2 {
        let to = [SpuId(0), SpuId(1), SpuId(2)];
        let begun = moves::begin(observed.partition("t", number), &to).unwrap();
        observed.apply(vec![Write::Update(begun.into())]);
        let factor = observed.topic("t").spec.placement.replication_factor();
        assert_eq!(factor, 1, "not all have another number");
        observed.settle(&Unfit::new());
    }

    assert_eq!(observed.topic("t").spec.placement, computed(2, 3));
}

#[test]
fn an_spu_that_is_to_leave_goes_once_it_is_down_and_holds_nothing() {
    let mut observed = Observed::with_spus([0, 1]);
    let goes = |observed: &Observed| {
        let key = ResourceKey::Spu(SpuId(1));
        plan(observed, &Unfit::new())
            .iter()
            .any(|write| matches!(write, Write::Delete { .. }) && write.key() == key)
    };
    let leaving = |observed: &mut Observed| {
        let spu = observed.spus.get_mut(&SpuId(1)).unwrap();
        spu.spec.leaving = true;
    };
    leaving(&mut observed);
    assert!(!goes(&observed), "it is up");

    observed.set_spu(1, SpuState::Offline);
    assert!(!goes(&observed), "nobody wants it gone");
    leaving(&mut observed);
    assert!(goes(&observed));

    observed.set_spu(1, SpuState::Online);
    observed.add_topic("t", 1, ReplicaPlacement::Assigned(vec![vec![SpuId(1)]]));
    observed.settle(&Unfit::new());
    observed.set_spu(1, SpuState::Offline);
    leaving(&mut observed);
    assert!(!goes(&observed), "it holds a partition");
}

#[test]
fn a_topic_that_is_placed_stays_so_when_fewer_spus_are_up_than_it_has_replicas() {
    let mut observed = Observed::with_spus([0, 1, 2]);
    observed.add_topic("t", 1, computed(2, 3));
    observed.settle(&Unfit::new());

    observed.set_spu(2, SpuState::Offline);
    observed.settle(&Unfit::new());

    assert_eq!(observed.topic("t").status.state, TopicState::Provisioned);
}

#[test]
fn what_modules_log_has_a_topic_as_soon_as_there_is_a_transform() {
    let mut observed = Observed::default();
    observed.set_spu(0, SpuState::Online);
    observed.set_spu(1, SpuState::Online);
    assert_eq!(transforms::logs::change(&observed), None);

    observed.insert_transform(transforms::rules::tests::transform("x", 1, "a", "b"));
    let Some(Write::Create(Resource::Topic(topic))) = transforms::logs::change(&observed) else {
        panic!("it is made");
    };
    assert_eq!(topic.name.as_str(), "__transform_logs");
    assert_eq!(topic.spec.placement.replication_factor(), 2);
    observed.topics.insert(topic.name.clone(), topic);
    assert_eq!(transforms::logs::change(&observed), None);
}
