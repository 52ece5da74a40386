//! The rules of a group, event by event.

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;
use crate::groups::classic::join::JoinRefused;
use crate::groups::options::GroupOptions;
use crate::groups::state::{Then, Write};
use crate::groups::waiter::Waiter;

const SESSION: Duration = Duration::from_secs(10);
const REBALANCE: Duration = Duration::from_secs(60);

/// A group, the time, and what it wanted to have written.
struct Scene {
    group: ClassicGroup,
    now: Moment,
    options: GroupOptions,
    writes: Vec<Write>,
    next_id: usize,
}

type JoinReceiver = oneshot::Receiver<JoinAnswer>;
type SyncReceiver = oneshot::Receiver<SyncAnswer>;

fn options() -> GroupOptions {
    GroupOptions {
        session_timeout_min: Duration::from_secs(6),
        session_timeout_max: Duration::from_secs(1800),
        initial_rebalance_delay: Duration::ZERO,
        size_max: 4,
        consumer_session_timeout: Duration::from_secs(45),
        consumer_heartbeat_interval: Duration::from_secs(5),
        offsets_retention: Duration::from_secs(3600),
        offsets_check_interval: Duration::from_secs(600),
    }
}

impl Scene {
    fn new() -> Self {
        Self {
            group: ClassicGroup::new("readers".into(), Moment::default()),
            now: Moment::default(),
            options: options(),
            writes: Vec::new(),
            next_id: 0,
        }
    }

    fn join(&mut self, request: JoinRequest) -> JoinReceiver {
        let (waiter, answer) = Waiter::new();
        self.next_id += 1;
        let request = JoinRequest {
            session_timeout: SESSION,
            rebalance_timeout: REBALANCE,
            new_member_id: format!("m{}", self.next_id),
            protocol_type: CONSUMER.to_owned(),
            ..request
        };
        let (now, out) = (self.now, &mut self.writes);
        self.group.join(request, waiter, &self.options, now, out);
        answer
    }

    fn sync(&mut self, who: &MemberIdentity, assignments: &[(&str, &'static str)]) -> SyncReceiver {
        let (waiter, answer) = Waiter::new();
        let assignments = assignments
            .iter()
            .map(|(id, what)| ((*id).to_owned(), Bytes::from_static(what.as_bytes())));
        let request = SyncRequest {
            who: who.clone(),
            assignments: assignments.collect(),
            ..SyncRequest::default()
        };
        self.group.sync(request, waiter, self.now, &mut self.writes);
        answer
    }

    fn pass(&mut self, time: Duration) {
        self.now.monotonic += time;
        self.now.ms += i64::try_from(time.as_millis()).unwrap();
        self.group.tick(self.now, &mut self.writes);
    }

    /// All that is to be written is.
    fn write_all(&mut self, outcome: Result<(), KafkaError>) {
        for write in std::mem::take(&mut self.writes) {
            match write.then {
                Then::Sync { generation, .. } => self.group.stored(generation, outcome, self.now),
                Then::AnswerJoin { waiter, joined, .. } => waiter.tell(Ok(joined)),
                Then::Nothing | Then::Answer(_) | Then::Planned(_) => {}
            }
        }
    }

    /// A stable group of so many members.
    fn stable(count: usize) -> (Self, Vec<MemberIdentity>) {
        let mut scene = Self::new();
        let waiting: Vec<_> = (0..count).map(|_| scene.join(newcomer())).collect();
        scene.pass(Duration::ZERO);
        let members = identities(waiting);
        scene.sync_all(&members);
        (scene, members)
    }

    fn sync_all(&mut self, members: &[MemberIdentity]) {
        let waiting: Vec<_> = members
            .iter()
            .map(|who| self.sync(who, &[(&who.member_id, "something")]))
            .collect();
        self.write_all(Ok(()));
        for mut answer in waiting {
            answer.try_recv().unwrap().unwrap();
        }
        assert_eq!(self.group.state(), GroupState::Stable);
    }
}

fn identities(waiting: Vec<JoinReceiver>) -> Vec<MemberIdentity> {
    let identity = |mut answer: JoinReceiver| {
        let joined = answer.try_recv().unwrap().unwrap();
        MemberIdentity {
            member_id: joined.member_id,
            instance_id: None,
            generation: joined.generation,
        }
    };
    waiting.into_iter().map(identity).collect()
}

fn protocols(names: &[&str]) -> Vec<(String, Bytes)> {
    let named = |name: &&str| ((*name).to_owned(), Bytes::from_static(b"topics"));
    names.iter().map(named).collect()
}

fn newcomer() -> JoinRequest {
    JoinRequest {
        protocols: protocols(&["range"]),
        ..JoinRequest::default()
    }
}

fn named(instance: &str) -> JoinRequest {
    JoinRequest {
        instance_id: Some(instance.to_owned()),
        ..newcomer()
    }
}

fn again(who: &MemberIdentity) -> JoinRequest {
    JoinRequest {
        member_id: who.member_id.clone(),
        instance_id: who.instance_id.clone(),
        ..newcomer()
    }
}

fn refused(answer: &mut JoinReceiver) -> KafkaError {
    answer.try_recv().unwrap().unwrap_err().error
}

#[test]
fn the_leader_assigns_and_every_member_gets_its_part_once_it_is_stored() {
    let mut scene = Scene::new();
    let (mut first, mut second) = (scene.join(newcomer()), scene.join(newcomer()));
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty));

    scene.pass(Duration::ZERO);

    let leader = first.try_recv().unwrap().unwrap();
    let follower = second.try_recv().unwrap().unwrap();
    assert_eq!((leader.leader.as_str(), leader.members.len()), ("m1", 2));
    assert_eq!(
        (follower.leader.as_str(), follower.members.len()),
        ("m1", 0)
    );
    assert_eq!((leader.generation, follower.generation), (1, 1));
    let who = |id: &str| MemberIdentity {
        member_id: id.to_owned(),
        instance_id: None,
        generation: 1,
    };
    let mut waiting = scene.sync(&who("m2"), &[]);
    let mut assigning = scene.sync(&who("m1"), &[("m1", "one"), ("m2", "two"), ("m9", "none")]);
    assert_eq!(waiting.try_recv(), Err(TryRecvError::Empty));
    scene.write_all(Ok(()));
    assert_eq!(waiting.try_recv().unwrap().unwrap().assignment, "two");
    assert_eq!(assigning.try_recv().unwrap().unwrap().assignment, "one");
}

#[test]
fn an_assignment_that_can_not_be_stored_is_made_again() {
    let mut scene = Scene::new();
    let joining = scene.join(newcomer());
    scene.pass(Duration::ZERO);
    let who = identities(vec![joining]).remove(0);
    let mut syncing = scene.sync(&who, &[("m1", "one")]);

    scene.write_all(Err(KafkaError::CoordinatorNotAvailable));

    let answer = syncing.try_recv().unwrap();
    assert_eq!(answer, Err(KafkaError::CoordinatorNotAvailable));
    assert_eq!(scene.group.state(), GroupState::PreparingRebalance);
    assert_eq!(
        scene.group.heartbeat(&who, scene.now),
        Err(KafkaError::RebalanceInProgress)
    );
    let again = identities(vec![scene.join(again(&who))]).remove(0);
    assert_eq!(again.generation, 2);
    scene.sync_all(&[again]);
}

#[test]
fn a_client_that_knows_how_to_must_come_again_with_its_id() {
    let mut scene = Scene::new();
    let careful = || JoinRequest {
        must_know_its_id: true,
        ..newcomer()
    };

    let promised = scene.join(careful()).try_recv().unwrap().unwrap_err();

    assert_eq!(promised.error, KafkaError::MemberIdRequired);
    let with_id = JoinRequest {
        member_id: promised.member_id.clone(),
        ..careful()
    };
    let mut joining = scene.join(with_id);
    scene.pass(Duration::ZERO);
    assert_eq!(
        joining.try_recv().unwrap().unwrap().member_id,
        promised.member_id
    );

    let forgotten = scene.join(careful()).try_recv().unwrap().unwrap_err();
    scene.pass(SESSION);
    let too_late = JoinRequest {
        member_id: forgotten.member_id,
        ..careful()
    };
    assert_eq!(
        refused(&mut scene.join(too_late)),
        KafkaError::UnknownMemberId
    );
}

#[test]
fn an_empty_group_waits_for_more_members_and_no_longer_than_they_allow() {
    let delay = Duration::from_secs(3);
    let mut scene = Scene::new();
    scene.options.initial_rebalance_delay = delay;
    let mut first = scene.join(newcomer());
    scene.pass(delay / 2);
    let _second = scene.join(newcomer());
    scene.pass(delay / 2);
    assert_eq!(first.try_recv(), Err(TryRecvError::Empty), "one has come");

    scene.pass(delay);

    assert_eq!(first.try_recv().unwrap().unwrap().members.len(), 2);
}

#[test]
fn a_member_that_is_not_heard_any_more_loses_its_place_and_its_generation() {
    let (mut scene, members) = Scene::stable(2);
    scene.pass(SESSION - Duration::from_secs(1));
    scene.group.heartbeat(&members[0], scene.now).unwrap();

    scene.pass(Duration::from_secs(1));

    let told = scene.group.heartbeat(&members[0], scene.now);
    assert_eq!(told, Err(KafkaError::RebalanceInProgress));
    let told = scene.group.heartbeat(&members[1], scene.now);
    assert_eq!(told, Err(KafkaError::UnknownMemberId));
    let mut joining = scene.join(again(&members[0]));
    assert_eq!(joining.try_recv().unwrap().unwrap().members.len(), 1);
    let told = scene.group.heartbeat(&members[0], scene.now);
    assert_eq!(told, Err(KafkaError::IllegalGeneration));
    assert_eq!(
        scene.group.check_commit(&members[1], scene.now),
        Err(KafkaError::UnknownMemberId)
    );
}

#[test]
fn who_does_not_join_again_in_time_is_left_behind() {
    let (mut scene, members) = Scene::stable(2);
    let mut joining = scene.join(again(&members[0]));
    assert_eq!(joining.try_recv(), Err(TryRecvError::Empty));
    let mut heartbeats = || {
        scene.group.heartbeat(&members[1], scene.now).unwrap_err();
        scene.pass(SESSION / 2);
    };

    for _ in 0..12 {
        heartbeats();
    }

    let joined = joining.try_recv().unwrap().unwrap();
    assert_eq!(
        (joined.members.len(), joined.generation),
        (1, members[0].generation + 1)
    );
}

#[test]
fn who_does_not_ask_for_its_partitions_in_time_is_left_behind() {
    let mut scene = Scene::new();
    let waiting = vec![scene.join(newcomer()), scene.join(newcomer())];
    scene.pass(Duration::ZERO);
    let members = identities(waiting);
    let mut syncing = scene.sync(&members[0], &[]);
    // The second says that it lives, and no more.
    scene.writes.clear();
    for _ in 0..12 {
        scene.pass(SESSION / 2);
        let _ = scene.group.heartbeat(&members[1], scene.now);
    }

    assert_eq!(
        syncing.try_recv().unwrap(),
        Err(KafkaError::RebalanceInProgress)
    );
    let told = scene.group.heartbeat(&members[1], scene.now);
    assert_eq!(told, Err(KafkaError::UnknownMemberId));
}

#[test]
fn a_member_that_leaves_hands_over_at_once_and_the_last_leaves_an_empty_group() {
    let (mut scene, members) = Scene::stable(2);
    let leaving = |who: &MemberIdentity| LeavingMember {
        member_id: who.member_id.clone(),
        instance_id: None,
    };

    let left = scene
        .group
        .leave(&[leaving(&members[0])], scene.now, &mut scene.writes);
    assert_eq!(left, [Ok(())]);
    let back = identities(vec![scene.join(again(&members[1]))]);
    scene.sync_all(&back);
    let all = [leaving(&members[0]), leaving(&back[0])];
    let left = scene.group.leave(&all, scene.now, &mut scene.writes);

    assert_eq!(left, [Err(KafkaError::UnknownMemberId), Ok(())]);
    assert_eq!(scene.group.state(), GroupState::Empty);
    assert_eq!(scene.writes.len(), 1, "the empty group is stored");
}

#[test]
fn followers_that_ask_again_change_nothing_and_the_leader_does() {
    let (mut scene, members) = Scene::stable(2);

    let joined = scene.join(again(&members[1])).try_recv().unwrap().unwrap();
    assert_eq!(joined.generation, members[1].generation);
    assert_eq!(scene.group.state(), GroupState::Stable);
    let mut leading = scene.join(again(&members[0]));

    assert_eq!(leading.try_recv(), Err(TryRecvError::Empty));
    assert_eq!(scene.group.state(), GroupState::PreparingRebalance);
}

#[test]
fn members_agree_on_an_assignor_that_all_know() {
    let mut scene = Scene::new();
    let of = |names: &[&str]| JoinRequest {
        protocols: protocols(names),
        ..JoinRequest::default()
    };
    let mut first = scene.join(of(&["sticky", "range", "other"]));
    let _second = scene.join(of(&["range", "sticky"]));
    let _third = scene.join(of(&["range", "sticky"]));
    assert_eq!(
        refused(&mut scene.join(of(&["other"]))),
        KafkaError::InconsistentGroupProtocol
    );

    scene.pass(Duration::ZERO);

    let joined = first.try_recv().unwrap().unwrap();
    assert_eq!(joined.protocol.as_deref(), Some("range"));
}

#[test]
fn a_group_takes_no_more_members_than_it_may_have() {
    let (mut scene, members) = Scene::stable(4);

    assert_eq!(
        refused(&mut scene.join(newcomer())),
        KafkaError::GroupMaxSizeReached
    );

    scene.join(again(&members[3])).try_recv().unwrap().unwrap();
}

#[test]
fn a_restarted_instance_takes_its_place_without_a_rebalance_and_fences_its_former_self() {
    let mut scene = Scene::new();
    let waiting = vec![scene.join(named("a")), scene.join(named("b"))];
    scene.pass(Duration::ZERO);
    let mut members = identities(waiting);
    members[0].instance_id = Some("a".to_owned());
    scene.sync_all(&members);

    let skipping = JoinRequest {
        may_skip_assignment: true,
        ..named("a")
    };
    let mut joining = scene.join(skipping);
    assert_eq!(
        joining.try_recv(),
        Err(TryRecvError::Empty),
        "it is not stored yet"
    );
    scene.write_all(Ok(()));

    let joined = joining.try_recv().unwrap().unwrap();
    assert_eq!(joined.generation, members[0].generation);
    assert!(joined.skip_assignment && joined.leader == joined.member_id);
    assert_eq!(
        scene.group.heartbeat(&members[0], scene.now),
        Err(KafkaError::FencedInstanceId)
    );
    let back = MemberIdentity {
        member_id: joined.member_id,
        ..members[0].clone()
    };
    let synced = scene.sync(&back, &[]).try_recv().unwrap().unwrap();
    assert_eq!(synced.assignment, "something");
    let mut stale = scene.join(again(&members[0]));
    assert_eq!(refused(&mut stale), KafkaError::FencedInstanceId);
}

#[test]
fn an_administrator_removes_an_instance_by_its_name() {
    let mut scene = Scene::new();
    let waiting = vec![scene.join(named("a"))];
    scene.pass(Duration::ZERO);
    scene.sync_all(&identities(waiting));
    let by_name = |instance: &str| LeavingMember {
        member_id: String::new(),
        instance_id: Some(instance.to_owned()),
    };

    let all = [by_name("b"), by_name("a")];
    let left = scene.group.leave(&all, scene.now, &mut scene.writes);

    assert_eq!(left, [Err(KafkaError::UnknownMemberId), Ok(())]);
    assert_eq!(scene.group.state(), GroupState::Empty);
}

#[test]
fn a_coordinator_that_takes_over_goes_on_in_the_same_generation() {
    let (mut scene, members) = Scene::stable(2);
    let crate::groups::records::GroupRecord::Classic { stored, .. } =
        scene.group.write(Then::Nothing).records.remove(0)
    else {
        panic!("a group writes its own record");
    };
    scene.now.monotonic += SESSION * 100;

    scene.group = ClassicGroup::restore("readers".into(), stored.unwrap(), scene.now);
    scene.pass(SESSION / 2);

    scene.group.heartbeat(&members[0], scene.now).unwrap();
    let synced = scene.sync(&members[1], &[]).try_recv().unwrap().unwrap();
    assert_eq!(synced.assignment, "");
    let synced = scene.sync(&members[0], &[]).try_recv().unwrap().unwrap();
    assert_eq!(synced.assignment, "something");
    scene.pass(SESSION);
    assert_eq!(scene.group.state(), GroupState::Empty);
}

#[test]
fn who_is_no_member_commits_only_while_there_are_none() {
    let nobody = MemberIdentity {
        generation: -1,
        ..MemberIdentity::default()
    };
    let (mut scene, members) = Scene::stable(1);
    scene.group.check_commit(&members[0], scene.now).unwrap();
    let told = scene.group.check_commit(&nobody, scene.now);
    assert_eq!(told, Err(KafkaError::UnknownMemberId));

    let mut empty = ClassicGroup::new("others".into(), scene.now);

    empty.check_commit(&nobody, scene.now).unwrap();
    let told = empty.check_commit(&members[0], scene.now);
    assert_eq!(told, Err(KafkaError::UnknownMemberId));
}

#[test]
fn a_session_that_is_too_short_is_refused_and_so_is_a_group_without_protocols() {
    let mut scene = Scene::new();
    scene.options.session_timeout_min = SESSION * 2;
    let answer = scene.join(newcomer()).try_recv().unwrap();
    let expected = JoinRefused {
        error: KafkaError::InvalidSessionTimeout,
        member_id: String::new(),
    };
    assert_eq!(answer, Err(expected));
    scene.options.session_timeout_min = SESSION;

    let mut nothing = scene.join(JoinRequest::default());

    assert_eq!(refused(&mut nothing), KafkaError::InconsistentGroupProtocol);
}
