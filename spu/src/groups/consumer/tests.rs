//! Members whose coordinator assigns: step by step, and under any order of events.

use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use thalweg_types::{
    ChainSpec, LeaderEpoch, PartitionEpoch, PartitionIndex, SpuId, TopicConfig, TopicName,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::cluster_view::{PartitionView, View};
use crate::groups::options::GroupOptions;
use crate::groups::records::GroupRecord;
use crate::groups::state::{ShardState, Write};
use crate::groups::waiter::Waiter;

const SESSION: Duration = Duration::from_secs(45);
const REBALANCE: Duration = Duration::from_secs(300);

fn options() -> GroupOptions {
    GroupOptions {
        session_timeout_min: Duration::from_secs(1),
        session_timeout_max: Duration::from_secs(1800),
        initial_rebalance_delay: Duration::ZERO,
        size_max: 100,
        consumer_session_timeout: SESSION,
        consumer_heartbeat_interval: Duration::from_secs(5),
        offsets_retention: Duration::from_secs(3600),
        offsets_check_interval: Duration::from_secs(600),
    }
}

fn group() -> GroupId {
    "readers".into()
}

fn topic_id(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

/// Topics `t1`, `t2` and so on with so many partitions.
fn view(partitions: &[i32]) -> Arc<View> {
    let mut view = View::default();
    for (number, count) in (1..).zip(partitions) {
        let name = TopicName::new(&format!("t{number}")).unwrap();
        let id = topic_id(number);
        let (config, chain) = (TopicConfig::default(), ChainSpec::default());
        view.upsert_topic(name, id, config, chain, *count);
        for partition in 0..*count {
            let placed = PartitionView {
                leader: Some(SpuId(0)),
                leader_epoch: LeaderEpoch(1),
                partition_epoch: PartitionEpoch(1),
                replicas: vec![SpuId(0)],
                isr: vec![SpuId(0)],
            };
            view.upsert_partition(id, PartitionIndex(partition), placed);
        }
    }
    Arc::new(view)
}

/// A client as it should be: it reads what it is told, and says so.
#[derive(Debug, Default)]
struct Client {
    member_id: String,
    instance_id: Option<String>,
    regex: Option<String>,
    epoch: i32,
    reads: Assignment,
    /// What it has been told to read and has not come to yet.
    told: Option<Assignment>,
    answer: Option<oneshot::Receiver<MemberEpochAnswer>>,
}

struct World {
    state: ShardState,
    now: Moment,
    clients: Vec<Client>,
    writing: VecDeque<Write>,
    log: Vec<GroupRecord>,
    view: Arc<View>,
    next_id: usize,
}

impl World {
    fn new(clients: usize, view: Arc<View>) -> Self {
        let mut state = ShardState::new(options(), Arc::clone(&view));
        state.finish_reading(Moment::default());
        Self {
            state,
            now: Moment::default(),
            clients: (0..clients).map(|_| Client::default()).collect(),
            writing: VecDeque::new(),
            log: Vec::new(),
            view,
            next_id: 0,
        }
    }

    fn submit(&mut self, writes: Vec<Write>) {
        for write in writes {
            self.state.writing();
            self.writing.push_back(write);
        }
    }

    fn write(&mut self, is_kept: bool) {
        let Some(write) = self.writing.pop_front() else {
            return;
        };
        if is_kept {
            self.log.extend(write.records.iter().cloned());
        }
        let outcome = is_kept
            .then_some(())
            .ok_or(KafkaError::CoordinatorNotAvailable);
        let writes = self.state.written(write, is_kept, outcome, self.now);
        self.submit(writes);
    }

    fn write_all(&mut self) {
        while !self.writing.is_empty() {
            self.write(true);
        }
    }

    /// Says what the client has to say, unless it waits for an answer.
    fn heartbeat(&mut self, number: usize) {
        if self.clients[number].answer.is_some() {
            return;
        }
        self.next_id += 1;
        let id = format!("m{}", self.next_id);
        let client = &mut self.clients[number];
        if client.member_id.is_empty() {
            client.member_id = id;
            client.epoch = JOIN;
            client.reads.clear();
        }
        let request = HeartbeatRequest {
            member_id: client.member_id.clone(),
            epoch: client.epoch,
            instance_id: client.instance_id.clone(),
            rebalance_timeout: (client.epoch == JOIN).then_some(REBALANCE),
            topics: match &client.regex {
                None => Some(["t1".to_owned(), "t2".to_owned()].into()),
                Some(_) => None,
            },
            regex: client.regex.clone(),
            // On its way to what it was told it does not say.
            owned: client.told.is_none().then(|| client.reads.clone()),
            ..HeartbeatRequest::default()
        };
        self.clients[number].answer = Some(self.say(request));
        self.hear();
    }

    fn say(&mut self, request: HeartbeatRequest) -> oneshot::Receiver<MemberEpochAnswer> {
        let (waiter, answer) = Waiter::new();
        let writes = self
            .state
            .consumer_heartbeat(&group(), request, waiter, self.now);
        self.submit(writes);
        answer
    }

    fn leave(&mut self, client: usize, epoch: i32) {
        let client = &mut self.clients[client];
        let request = HeartbeatRequest {
            member_id: std::mem::take(&mut client.member_id),
            instance_id: client.instance_id.clone(),
            epoch,
            ..HeartbeatRequest::default()
        };
        client.reads.clear();
        client.answer = None;
        client.told = None;
        if !request.member_id.is_empty() {
            drop(self.say(request));
        }
    }

    /// Clients take what they are told: they stop reading at once, and begin later.
    fn hear(&mut self) {
        for client in &mut self.clients {
            let Some(answer) = &mut client.answer else {
                continue;
            };
            let Ok(answer) = answer.try_recv() else {
                continue;
            };
            client.answer = None;
            match answer {
                Ok(answer) => {
                    client.epoch = answer.epoch;
                    client.told = answer.assignment.or(client.told.take());
                }
                Err(KafkaError::CoordinatorNotAvailable) => {}
                Err(_) => {
                    client.member_id.clear();
                    client.reads.clear();
                    client.told = None;
                }
            }
        }
    }

    /// A client comes to what it was told.
    fn obey(&mut self, client: usize) {
        let client = &mut self.clients[client];
        if let Some(told) = client.told.take() {
            client.reads = told;
        }
        self.assert_one_owner();
    }

    /// No partition is read by two clients that the coordinator has not given up.
    fn assert_one_owner(&self) {
        let members = self.state.describe_consumer(&group());
        let members = members.map_or(Vec::new(), |described| described.members);
        let mut read = BTreeMap::new();
        for client in &self.clients {
            let is_member = members.iter().any(|it| it.member_id == client.member_id);
            for (topic, partitions) in client.reads.iter().filter(|_| is_member) {
                for partition in partitions {
                    let other = read.insert((*topic, *partition), &client.member_id);
                    assert_eq!(other, None, "{topic}-{partition} is read by two");
                }
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.ms += i64::try_from(time.as_millis()).unwrap();
        let writes = self.state.tick(self.now);
        self.submit(writes);
    }

    fn fail_over(&mut self) {
        self.writing.clear();
        self.state = ShardState::new(options(), Arc::clone(&self.view));
        for record in &self.log {
            let (key, value) = (record.key(), record.value());
            let read = GroupRecord::read(&key, value.as_deref()).unwrap().unwrap();
            assert_eq!(&read, record);
            self.state.read(read, self.now);
        }
        self.state.finish_reading(self.now);
        for client in &mut self.clients {
            client.answer = None;
        }
    }

    /// Everybody says and does what it should until nothing changes.
    fn settle(&mut self) {
        for _ in 0..20 {
            for client in 0..self.clients.len() {
                self.heartbeat(client);
                self.write_all();
                self.hear();
                self.obey(client);
            }
        }
    }

    fn state_name(&self) -> &'static str {
        let described = self.state.describe_consumer(&group());
        described.map_or("Dead", |described| described.state)
    }

    fn counts(&self) -> Vec<usize> {
        let count = |client: &Client| client.reads.values().map(BTreeSet::len).sum();
        self.clients.iter().map(count).collect()
    }
}

#[test]
fn a_newcomer_gets_its_share_and_others_never_stop_what_they_keep() {
    let mut world = World::new(2, view(&[6, 2]));
    world.heartbeat(0);
    world.write_all();
    world.hear();
    world.obey(0);
    assert_eq!(world.counts(), [8, 0]);
    let before = world.clients[0].reads.clone();

    world.heartbeat(1);
    world.write_all();
    world.hear();
    world.obey(1);
    assert_eq!(world.counts(), [8, 0], "nothing is free yet");
    assert_eq!(world.state_name(), "Reconciling");
    world.heartbeat(0);
    world.write_all();
    world.hear();
    let told = world.clients[0].told.clone().unwrap();
    assert!(reconcile::without(&told, &before).is_empty());
    world.heartbeat(1);
    world.obey(1);
    assert_eq!(
        world.counts()[1],
        0,
        "the first has not said that it stopped"
    );
    world.settle();

    assert_eq!(world.counts(), [4, 4]);
    assert_eq!(world.clients[0].reads, told);
    assert_eq!(world.state_name(), "Stable");
}

#[test]
fn members_of_another_epoch_are_fenced() {
    let mut world = World::new(1, view(&[4]));
    world.settle();
    world.view = view(&[4, 4]);
    world.state.see(Arc::clone(&world.view));
    world.settle();
    world.view = view(&[4, 5]);
    world.state.see(Arc::clone(&world.view));
    world.settle();
    let client = &world.clients[0];
    let request = |epoch: i32| HeartbeatRequest {
        member_id: client.member_id.clone(),
        epoch,
        owned: Some(Assignment::new()),
        ..HeartbeatRequest::default()
    };
    let (newer, older) = (request(client.epoch + 1), request(client.epoch - 2));
    let stranger = HeartbeatRequest {
        member_id: "stranger".to_owned(),
        ..request(client.epoch)
    };
    let (id, epoch) = (client.member_id.clone(), client.epoch);

    for (request, expected) in [
        (newer, KafkaError::FencedMemberEpoch),
        (older, KafkaError::FencedMemberEpoch),
        (stranger, KafkaError::UnknownMemberId),
    ] {
        let mut answer = world.say(request);
        assert_eq!(answer.try_recv().unwrap(), Err(expected));
    }
    world.state.check_fetch(&group(), &id, epoch).unwrap();
    let stale = world.state.check_fetch(&group(), &id, epoch - 1);
    assert_eq!(stale, Err(KafkaError::StaleMemberEpoch));
}

#[test]
fn who_is_not_heard_or_does_not_let_go_is_given_up() {
    let mut world = World::new(2, view(&[4]));
    world.heartbeat(0);
    world.write_all();
    world.hear();
    world.obey(0);
    world.heartbeat(1);
    world.write_all();
    world.hear();
    // The first says that it lives and holds on to everything.
    let mut passed = Duration::ZERO;
    while passed < REBALANCE + SESSION {
        world.heartbeat(0);
        world.heartbeat(1);
        world.write_all();
        world.hear();
        world.obey(1);
        world.pass(SESSION / 3);
        world.write_all();
        passed += SESSION / 3;
        if world.clients[0].member_id.is_empty() {
            break;
        }
    }
    assert!(
        world.clients[0].member_id.is_empty(),
        "it is told that it is none any more"
    );
    world.clients.remove(0);
    world.settle();
    assert_eq!(world.counts(), [4]);

    world.pass(SESSION);
    world.write_all();

    assert_eq!(world.state_name(), "Empty");
}

#[test]
fn topics_are_found_by_expression_and_more_partitions_are_shared() {
    let mut world = World::new(1, view(&[2, 3]));
    world.clients[0].regex = Some("t[0-9]".to_owned());
    world.settle();
    assert_eq!(world.counts(), [5]);

    world.view = view(&[2, 3, 4]);
    world.state.see(Arc::clone(&world.view));
    world.settle();
    assert_eq!(world.counts(), [9]);

    let wrong = HeartbeatRequest {
        member_id: "other".to_owned(),
        regex: Some("(".to_owned()),
        rebalance_timeout: Some(REBALANCE),
        ..HeartbeatRequest::default()
    };
    let mut answer = world.say(wrong);
    assert_eq!(
        answer.try_recv().unwrap(),
        Err(KafkaError::InvalidRegularExpression)
    );
}

#[test]
fn an_instance_keeps_its_partitions_while_it_is_away() {
    let mut world = World::new(2, view(&[4]));
    for (number, client) in world.clients.iter_mut().enumerate() {
        client.instance_id = Some(format!("instance-{number}"));
    }
    world.settle();
    let reads = world.clients[0].reads.clone();
    let intruder = HeartbeatRequest {
        member_id: "intruder".to_owned(),
        instance_id: Some("instance-0".to_owned()),
        rebalance_timeout: Some(REBALANCE),
        topics: Some(BTreeSet::new()),
        ..HeartbeatRequest::default()
    };
    let mut answer = world.say(intruder);
    assert_eq!(
        answer.try_recv().unwrap(),
        Err(KafkaError::UnreleasedInstanceId)
    );

    world.leave(0, LEAVE_FOR_A_WHILE);
    world.write_all();
    world.heartbeat(1);
    world.obey(1);
    assert_eq!(world.counts(), [0, 2]);
    world.settle();

    assert_eq!(world.clients[0].reads, reads);
    assert_eq!(world.counts(), [2, 2]);
}

#[test]
fn an_empty_group_of_either_protocol_becomes_one_of_the_other() {
    use crate::groups::classic::{CONSUMER, JoinRequest};

    let mut world = World::new(1, view(&[4]));
    let join = |id: &str| JoinRequest {
        session_timeout: Duration::from_secs(10),
        rebalance_timeout: Duration::from_secs(10),
        protocol_type: CONSUMER.to_owned(),
        protocols: vec![("range".to_owned(), bytes::Bytes::new())],
        new_member_id: id.to_owned(),
        ..JoinRequest::default()
    };
    let (waiter, mut joining) = Waiter::new();
    let writes = world
        .state
        .join(&group(), join("classic-1"), waiter, world.now);
    world.submit(writes);
    world.pass(Duration::ZERO);
    joining.try_recv().unwrap().unwrap();
    world.heartbeat(0);
    assert!(
        world.clients[0].member_id.is_empty(),
        "members of the other protocol are there"
    );
    world.pass(Duration::from_secs(20));
    world.write_all();

    world.settle();
    assert_eq!(world.state_name(), "Stable");
    let (waiter, mut joining) = Waiter::new();
    let writes = world
        .state
        .join(&group(), join("classic-2"), waiter, world.now);
    world.submit(writes);
    let refused = joining.try_recv().unwrap().unwrap_err();
    assert_eq!(refused.error, KafkaError::InconsistentGroupProtocol);
    world.leave(0, LEAVE);
    world.write_all();
    let (waiter, mut joining) = Waiter::new();
    let writes = world
        .state
        .join(&group(), join("classic-3"), waiter, world.now);
    world.submit(writes);
    world.pass(Duration::ZERO);

    joining.try_recv().unwrap().unwrap();
    world.write_all();
    assert!(world.state.describe_consumer(&group()).is_none());
}

#[derive(Debug, Clone)]
enum Event {
    Heartbeat(usize),
    Obey(usize),
    Leave(usize),
    /// It has lost its memory, and is somebody new.
    Restart(usize),
    Write(bool),
    Pass(u64),
    Failover,
    Topics(i32, i32),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let client = 0_usize..4;
    let event = prop_oneof![
        8 => client.clone().prop_map(Event::Heartbeat),
        6 => client.clone().prop_map(Event::Obey),
        1 => client.clone().prop_map(Event::Leave),
        1 => client.prop_map(Event::Restart),
        8 => prop::bool::weighted(0.9).prop_map(Event::Write),
        2 => (0_u64..20).prop_map(Event::Pass),
        1 => Just(Event::Failover),
        1 => (0..6, 0..6).prop_map(|(one, other)| Event::Topics(one, other)),
    ];
    prop::collection::vec(event, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_no_partition_has_two_owners_and_members_get_to_a_fair_share(
        events in events(),
    ) {
        let mut world = World::new(4, view(&[5, 3]));
        for event in events {
            match event {
                Event::Heartbeat(client) => world.heartbeat(client),
                Event::Obey(client) => world.obey(client),
                Event::Leave(client) => world.leave(client, LEAVE),
                Event::Restart(client) => world.clients[client] = Client::default(),
                Event::Write(is_kept) => world.write(is_kept),
                Event::Pass(seconds) => world.pass(Duration::from_secs(seconds)),
                Event::Failover => world.fail_over(),
                Event::Topics(one, other) => {
                    world.view = view(&[one, other]);
                    world.state.see(Arc::clone(&world.view));
                }
            }
            world.hear();
            world.assert_one_owner();
        }

        // Those that were replaced are given up, and the others settle.
        for _ in 0..4 {
            world.settle();
            world.pass(SESSION - Duration::from_secs(1));
            world.write_all();
        }
        world.settle();
        prop_assert_eq!(world.state_name(), "Stable");
        let total: usize = world.view.topics.values().map(|topic| topic.partitions.len()).sum();
        let counts = world.counts();
        prop_assert_eq!(counts.iter().sum::<usize>(), total);
        prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1);
    }
}
