//! Groups and offsets under any order of events: what holds for every one of them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use thalweg_types::PartitionIndex;
use tokio::sync::oneshot;

use super::*;
use crate::groups::offsets::CommittedOffset;

const SESSION: Duration = Duration::from_secs(10);

fn options() -> GroupOptions {
    GroupOptions {
        session_timeout_min: Duration::from_secs(1),
        session_timeout_max: Duration::from_secs(1800),
        initial_rebalance_delay: Duration::from_secs(3),
        size_max: 100,
        consumer_session_timeout: Duration::from_secs(45),
        consumer_heartbeat_interval: Duration::from_secs(5),
        offsets_retention: Duration::from_secs(120),
        offsets_check_interval: Duration::from_secs(30),
    }
}

/// What may happen to one group of a few clients.
#[derive(Debug, Clone)]
enum Event {
    /// A client joins, or joins again.
    Join(usize),
    /// It asks for its partitions, and assigns where it leads.
    Sync(usize),
    Heartbeat(usize),
    Commit(usize, i32),
    Leave(usize),
    /// It restarts: it forgets who it was.
    Restart(usize),
    /// The oldest write is kept, or is not.
    Write(bool),
    Pass(u64),
    /// Another coordinator takes over, from what is written.
    Failover,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let client = 0_usize..4;
    let event = prop_oneof![
        4 => client.clone().prop_map(Event::Join),
        4 => client.clone().prop_map(Event::Sync),
        2 => client.clone().prop_map(Event::Heartbeat),
        4 => (client.clone(), 0..3).prop_map(|(client, partition)| Event::Commit(client, partition)),
        1 => client.clone().prop_map(Event::Leave),
        1 => client.prop_map(Event::Restart),
        6 => prop::bool::weighted(0.9).prop_map(Event::Write),
        3 => (0_u64..8).prop_map(Event::Pass),
        1 => Just(Event::Failover),
    ];
    prop::collection::vec(event, 1..200)
}

/// A client, as far as it knows.
#[derive(Debug, Default)]
struct Client {
    instance_id: Option<String>,
    member_id: String,
    generation: i32,
    leads: Vec<String>,
    joining: Option<oneshot::Receiver<JoinAnswer>>,
    /// With the generation that it asked as.
    syncing: Option<(i32, oneshot::Receiver<SyncAnswer>)>,
}

struct World {
    state: ShardState,
    now: Moment,
    clients: Vec<Client>,
    writing: std::collections::VecDeque<Write>,
    log: Vec<GroupRecord>,
    /// Who has which partition in a generation, as they were told.
    told: BTreeMap<i32, BTreeMap<String, String>>,
    newest_generation: i32,
    next_id: usize,
    next_offset: i64,
}

fn group() -> GroupId {
    "readers".into()
}

impl World {
    fn new() -> Self {
        let client = |number: usize| Client {
            // Half of them keep a name over restarts.
            instance_id: (number % 2 == 1).then(|| format!("instance-{number}")),
            ..Client::default()
        };
        let mut world = Self {
            state: ShardState::new(options(), Arc::default()),
            now: Moment::default(),
            clients: (0..4).map(client).collect(),
            writing: std::collections::VecDeque::new(),
            log: Vec::new(),
            told: BTreeMap::new(),
            newest_generation: 0,
            next_id: 0,
            next_offset: 0,
        };
        world.state.finish_reading(world.now);
        world
    }

    fn submit(&mut self, writes: Vec<Write>) {
        for write in writes {
            self.state.writing();
            self.writing.push_back(write);
        }
    }

    fn identity(&self, client: usize) -> MemberIdentity {
        let client = &self.clients[client];
        MemberIdentity {
            member_id: client.member_id.clone(),
            instance_id: client.instance_id.clone(),
            generation: client.generation,
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Join(client) => self.join(client),
            Event::Sync(client) => self.sync(client),
            Event::Heartbeat(client) => {
                let who = self.identity(client);
                let told = self.state.heartbeat(&group(), &who, self.now);
                self.assert_fenced(&who, told);
            }
            Event::Commit(client, partition) => self.commit(client, partition),
            Event::Leave(client) => {
                let leaving = LeavingMember {
                    member_id: self.clients[client].member_id.clone(),
                    instance_id: self.clients[client].instance_id.clone(),
                };
                let (_, writes) = self.state.leave(&group(), &[leaving], self.now);
                self.submit(writes);
            }
            Event::Restart(client) => {
                let client = &mut self.clients[client];
                *client = Client {
                    instance_id: client.instance_id.take(),
                    ..Client::default()
                };
            }
            Event::Write(is_kept) => self.write(is_kept),
            Event::Pass(seconds) => {
                self.now.monotonic += Duration::from_secs(seconds);
                self.now.ms += i64::try_from(seconds).unwrap() * 1000;
                let writes = self.state.tick(self.now);
                self.submit(writes);
            }
            Event::Failover => self.fail_over(),
        }
        if self.generation_now() == 0 {
            // It was forgotten, with all its members: a group of its name begins anew.
            self.newest_generation = 0;
            self.told.clear();
        }
        self.hear();
    }

    fn join(&mut self, client: usize) {
        self.next_id += 1;
        let (waiter, answer) = Waiter::new();
        let protocols = vec![("range".to_owned(), bytes::Bytes::from_static(b"x"))];
        let request = JoinRequest {
            member_id: self.clients[client].member_id.clone(),
            instance_id: self.clients[client].instance_id.clone(),
            session_timeout: SESSION,
            rebalance_timeout: SESSION,
            protocol_type: "consumer".to_owned(),
            protocols,
            new_member_id: format!("m{}", self.next_id),
            must_know_its_id: true,
            ..JoinRequest::default()
        };
        self.clients[client].joining = Some(answer);
        let writes = self.state.join(&group(), request, waiter, self.now);
        self.submit(writes);
    }

    fn sync(&mut self, client: usize) {
        let (waiter, answer) = Waiter::new();
        let who = self.identity(client);
        // The leader gives every member one partition of its own.
        let assignments = self.clients[client].leads.iter().enumerate();
        let assignments = assignments
            .map(|(number, id)| (id.clone(), bytes::Bytes::from(number.to_string())))
            .collect();
        let request = SyncRequest {
            who,
            assignments,
            ..SyncRequest::default()
        };
        let generation = self.clients[client].generation;
        self.clients[client].syncing = Some((generation, answer));
        let writes = self.state.sync(&group(), request, waiter, self.now);
        self.submit(writes);
    }

    fn commit(&mut self, client: usize, partition: i32) {
        self.next_offset += 1;
        let who = self.identity(client);
        let committed = CommittedOffset {
            offset: self.next_offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_ms: self.now.ms,
            topic: None,
        };
        let offset = OffsetToCommit {
            topic: "t".parse().unwrap(),
            partition: PartitionIndex(partition),
            committed,
        };
        let (waiter, mut answer) = Waiter::new();
        let request = CommitRequest {
            who: who.clone(),
            offsets: vec![offset],
        };
        let writes = self.state.commit(&group(), request, waiter, self.now);
        match answer.try_recv() {
            Ok(told) => self.assert_fenced(&who, told),
            Err(_not_yet) => self.assert_fenced(&who, Ok(())),
        }
        self.submit(writes);
    }

    /// A member of a generation that is over is let do nothing.
    fn assert_fenced(&self, who: &MemberIdentity, told: Result<(), KafkaError>) {
        if who.generation > 0 && who.generation < self.generation_now() {
            assert!(told.is_err(), "{who:?} is of a generation that is over");
        }
    }

    fn generation_now(&self) -> i32 {
        let group = self.state.groups.get(&group());
        group.map_or(0, |group| group.classic.generation())
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

    /// Reads the log as it is, and as compaction leaves it.
    fn read_log(&self) -> ShardState {
        let read = |records: Vec<&GroupRecord>| {
            let mut state = ShardState::new(options(), Arc::default());
            for record in records {
                let (key, value) = (record.key(), record.value());
                let record = GroupRecord::read(&key, value.as_deref()).unwrap().unwrap();
                state.read(record, self.now);
            }
            state.finish_reading(self.now);
            state
        };
        let newest: BTreeMap<_, _> = self
            .log
            .iter()
            .enumerate()
            .map(|(position, record)| (record.key(), position))
            .collect();
        let kept: BTreeSet<_> = newest.into_values().collect();
        let compacted = kept.into_iter().map(|position| &self.log[position]);
        let compacted = read(compacted.collect());
        let whole = read(self.log.iter().collect());
        assert_eq!(offsets(&compacted), offsets(&whole));
        assert_eq!(compacted.list(), whole.list());
        whole
    }

    fn fail_over(&mut self) {
        // Whoever waits hears nothing, and nothing more is written by the old one.
        self.writing.clear();
        self.state = self.read_log();
        self.newest_generation = self.generation_now();
        for client in &mut self.clients {
            client.joining = None;
            client.syncing = None;
        }
    }

    /// Clients take what they are told.
    fn hear(&mut self) {
        for client in &mut self.clients {
            if let Some(answer) = &mut client.joining
                && let Ok(answer) = answer.try_recv()
            {
                client.joining = None;
                match answer {
                    Ok(joined) => {
                        client.leads = joined.members.into_iter().map(|it| it.member_id).collect();
                        client.member_id = joined.member_id;
                        client.generation = joined.generation;
                        assert!(joined.generation >= self.newest_generation);
                        self.newest_generation = joined.generation;
                    }
                    Err(refused) if refused.error == KafkaError::MemberIdRequired => {
                        client.member_id = refused.member_id;
                    }
                    Err(_) => client.member_id.clear(),
                }
            }
            if let Some((generation, answer)) = &mut client.syncing
                && let Ok(answer) = answer.try_recv()
            {
                let generation = *generation;
                client.syncing = None;
                let Ok(synced) = answer else { continue };
                let partition = String::from_utf8(synced.assignment.to_vec()).unwrap();
                let told = self.told.entry(generation).or_default();
                let instance = client.instance_id.clone();
                let holder = instance.unwrap_or_else(|| client.member_id.clone());
                if !partition.is_empty() {
                    let former = told.insert(partition.clone(), holder.clone());
                    let is_same = former.as_ref().is_none_or(|former| *former == holder);
                    assert!(is_same, "{former:?} and {holder} have {partition}");
                }
            }
        }
    }
}

fn offsets(state: &ShardState) -> BTreeMap<i32, i64> {
    let committed = state.committed(&group(), OffsetsAsked::All);
    let committed = committed.into_iter();
    committed
        .map(|((_, partition), committed)| (partition.0, committed.unwrap().offset))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_generations_fence_partitions_have_one_owner_and_offsets_are_what_is_written(
        events in events(),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
            prop_assert_eq!(offsets(&world.state), offsets(&world.read_log()));
        }
    }

    #[test]
    fn whatever_has_happened_members_that_come_again_get_to_a_stable_group(
        events in events(),
    ) {
        let mut world = World::new();
        for event in events {
            world.happen(event);
        }

        // Members that have gone without a word are given up on the way.
        for _ in 0..30 {
            for client in 0..4 {
                if world.clients[client].joining.is_none() {
                    world.happen(Event::Join(client));
                }
            }
            world.happen(Event::Pass(3));
            for client in 0..4 {
                world.happen(Event::Sync(client));
            }
            while !world.writing.is_empty() {
                world.happen(Event::Write(true));
            }
            let described = world.state.describe(&group());
            if described.is_some_and(|described| described.state == "Stable") {
                return Ok(());
            }
        }
        prop_assert!(false, "{:?}", world.state.describe(&group()));
    }
}

#[test]
fn a_commit_that_was_not_kept_changes_nothing_and_too_many_in_flight_are_refused() {
    let mut world = World::new();
    let nobody = 0;
    world.clients[nobody].generation = -1;
    world.happen(Event::Commit(nobody, 0));
    world.happen(Event::Write(true));
    world.happen(Event::Commit(nobody, 0));
    world.happen(Event::Write(false));
    assert_eq!(offsets(&world.state), BTreeMap::from([(0, 1)]));

    for _ in 0..WRITES_MAX + 10 {
        world.happen(Event::Commit(nobody, 0));
    }

    assert_eq!(world.writing.len(), WRITES_MAX);
}
