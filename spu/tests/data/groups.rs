//! Consumer groups as a client meets them: one SPU, whose SC makes the topic that keeps them.

use thalweg_types::{LeaderEpoch, OFFSETS_TOPIC};
use thalweg_wire::messages::join_group_request::JoinGroupRequestProtocol;
use thalweg_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_wire::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use thalweg_wire::messages::sync_group_request::SyncGroupRequestAssignment;
use thalweg_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, DeleteGroupsRequest,
    DescribeGroupsRequest, FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, ListGroupsRequest, OffsetCommitRequest,
    OffsetFetchRequest, SyncGroupRequest,
};
use thalweg_wire::{Bytes, KafkaError, StrBytes, kafka_error};

use crate::client::RawClient;
use crate::harness::{leader, try_leader, try_start, until};
use crate::scripted_sc::OFFSETS_PARTITIONS;
use crate::setup::{TestSpu, topic};

const QUICK: &[&str] = &[
    "--group-initial-rebalance-delay=0s",
    "--group-session-timeout-min=100ms",
];

pub(crate) fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

pub(crate) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// An SPU with topic `t`, whose group coordinator serves.
pub(crate) async fn start(flags: &[&str]) -> TestSpu {
    let spu = TestSpu::start_with(&[QUICK, flags].concat()).await;
    spu.create_topic("t", 2, &[("durability", "memory")]).await;
    spu.script.announce_spu(spu.address());
    let mut client = spu.client().await;
    find(&mut client, "readers").await;
    for partition in 0..OFFSETS_PARTITIONS {
        leader(&spu.spu, OFFSETS_TOPIC, partition).await;
    }
    spu
}

async fn find(client: &mut RawClient, name: &str) -> i32 {
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(name)]);
    let found = client.call(&request, 6).await.coordinators.remove(0);
    assert_eq!(found.error_code, 0, "{:?}", found.error_message);
    found.node_id.0
}

pub(crate) fn commit_request(
    name: &str,
    who: (&str, i32),
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_leader_epoch(1)
            .with_committed_metadata(Some(text("by hand")))
    });
    OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(who.0))
        .with_generation_id_or_member_epoch(who.1)
        .with_topics(vec![
            OffsetCommitRequestTopic::default()
                .with_name(topic("t"))
                .with_partitions(partitions.collect()),
        ])
}

/// Commits, and returns the error code of each partition.
async fn commit(
    client: &mut RawClient,
    name: &str,
    who: (&str, i32),
    offsets: &[(i32, i64)],
) -> Vec<i16> {
    let request = commit_request(name, who, offsets);
    let mut response = client.call(&request, 9).await;
    let partitions = response.topics.remove(0).partitions.into_iter();
    partitions.map(|partition| partition.error_code).collect()
}

/// The committed offset of the partitions of `t`.
pub(crate) async fn committed(client: &mut RawClient, name: &str) -> Vec<i64> {
    let topics = OffsetFetchRequestTopics::default()
        .with_name(topic("t"))
        .with_partition_indexes(vec![0, 1]);
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(group(name))
        .with_topics(Some(vec![topics]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let mut response = client.call(&request, 8).await;
    let mut of_group = response.groups.remove(0);
    assert_eq!(of_group.error_code, 0);
    let partitions = of_group.topics.remove(0).partitions.into_iter();
    partitions
        .map(|partition| {
            assert_eq!(partition.error_code, 0);
            partition.committed_offset
        })
        .collect()
}

fn join_request(name: &str, member: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_session_timeout_ms(10_000)
        .with_rebalance_timeout_ms(10_000)
        .with_member_id(text(member))
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![
            JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x01t\xff\xff\xff\xff")),
        ])
}

/// Joins as somebody new, with the id that it is told to come with.
async fn join(client: &mut RawClient, name: &str) -> JoinGroupResponse {
    let first = client.call(&join_request(name, ""), 9).await;
    assert_eq!(first.error_code, 79);
    client.call(&join_request(name, &first.member_id), 9).await
}

/// Joins alone and assigns itself something.
pub(crate) async fn join_alone(client: &mut RawClient, name: &str) -> (String, i32) {
    let joined = join(client, name).await;
    assert_eq!((joined.error_code, joined.members.len()), (0, 1));
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(Bytes::from_static(b"all"));
    let request = SyncGroupRequest::default()
        .with_group_id(group(name))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id.clone())
        .with_assignments(vec![assignment]);
    let synced = client.call(&request, 5).await;
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
    (joined.member_id.to_string(), joined.generation_id)
}

async fn heartbeat(client: &mut RawClient, name: &str, who: &(String, i32)) -> i16 {
    let request = HeartbeatRequest::default()
        .with_group_id(group(name))
        .with_generation_id(who.1)
        .with_member_id(text(&who.0));
    client.call(&request, 4).await.error_code
}

pub(crate) async fn leave(client: &mut RawClient, name: &str, who: &(String, i32)) -> i16 {
    let request = LeaveGroupRequest::default()
        .with_group_id(group(name))
        .with_member_id(text(&who.0));
    client.call(&request, 2).await.error_code
}

#[tokio::test]
async fn the_first_who_looks_for_a_coordinator_has_the_topic_made() {
    let spu = TestSpu::start_with(&[]).await;
    spu.script.announce_spu(spu.address());
    let mut client = spu.client().await;

    assert_eq!(find(&mut client, "readers").await, 0);

    let old = FindCoordinatorRequest::default().with_key(text("readers"));
    let found = client.call(&old, 2).await;
    assert_eq!((found.error_code, found.node_id.0), (0, 0));
    assert_eq!(found.port, i32::from(spu.address().port()));
    let transaction = old.with_key_type(1);
    let refused = client.call(&transaction, 2).await;
    assert_eq!(refused.error_code, 53);
    assert!(refused.error_message.unwrap().contains("no transactions"));
}

#[tokio::test]
async fn who_assigns_its_partitions_itself_commits_and_finds_it_again_after_a_restart() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;
    let nobody = ("", -1);
    for number in 0..20 {
        let name = format!("readers-{number}");
        let offsets = [(0, 10 + number), (1, 20 + number)];
        assert_eq!(commit(&mut client, &name, nobody, &offsets).await, [0, 0]);
    }
    assert_eq!(
        commit(&mut client, "readers-1", nobody, &[(0, 99)]).await,
        [0]
    );
    assert_eq!(
        commit(&mut client, "readers-1", nobody, &[(7, 1)]).await,
        [3]
    );
    assert_eq!(committed(&mut client, "readers-1").await, [99, 21]);
    assert_eq!(committed(&mut client, "strangers").await, [-1, -1]);

    let options = (*spu.spu.context().options).clone();
    let TestSpu {
        spu,
        script,
        _sc,
        dir,
    } = spu;
    spu.stop().await;
    let spu = try_start(options).await.unwrap();
    script.announce_spu(spu.data_address());
    let mut client = RawClient::connect(spu.data_address()).await;

    for number in [0, 2, 19] {
        let name = format!("readers-{number}");
        let expected = [10 + number, 20 + number];
        assert_eq!(committed(&mut client, &name).await, expected, "{name}");
    }
    assert_eq!(committed(&mut client, "readers-1").await, [99, 21]);
    drop((dir, _sc));
}

#[tokio::test]
async fn members_join_assign_commit_and_leave() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;

    let who = join_alone(&mut client, "readers").await;

    assert_eq!(heartbeat(&mut client, "readers", &who).await, 0);
    let as_member = (who.0.as_str(), who.1);
    let late = (who.0.as_str(), who.1 - 1);
    assert_eq!(
        commit(&mut client, "readers", as_member, &[(0, 5)]).await,
        [0]
    );
    assert_eq!(commit(&mut client, "readers", late, &[(0, 1)]).await, [22]);
    assert_eq!(
        commit(&mut client, "readers", ("", -1), &[(0, 1)]).await,
        [25]
    );
    assert_eq!(committed(&mut client, "readers").await, [5, -1]);
    let asked = DescribeGroupsRequest::default().with_groups(vec![group("readers")]);
    let described = client.call(&asked, 6).await.groups.remove(0);
    assert_eq!(&*described.group_state, "Stable");
    assert_eq!(&*described.protocol_data, "range");
    assert_eq!(&*described.members[0].client_id, "test");
    assert_eq!(&*described.members[0].client_host, "/127.0.0.1");
    assert_eq!(&*described.members[0].member_assignment, b"all");
    assert_eq!(leave(&mut client, "readers", &who).await, 0);
    assert_eq!(heartbeat(&mut client, "readers", &who).await, 25);
    let described = client.call(&asked, 6).await.groups.remove(0);
    assert_eq!(&*described.group_state, "Empty");
}

#[tokio::test]
async fn a_second_member_waits_for_the_first_to_join_again() {
    let spu = start(&[]).await;
    let (mut first, mut second) = (spu.client().await, spu.client().await);
    let who = join_alone(&mut first, "readers").await;

    let promised = second.call(&join_request("readers", ""), 9).await;
    let request = join_request("readers", &promised.member_id);
    let joining = second.send(&request, 9).await;
    let mut told = 0;
    while told == 0 {
        told = heartbeat(&mut first, "readers", &who).await;
    }
    assert_eq!(kafka_error(told).unwrap().code(), 27);
    let leads = first.call(&join_request("readers", &who.0), 9).await;
    let follows = second.receive::<JoinGroupRequest>(joining, 9).await;

    assert_eq!((leads.generation_id, leads.members.len()), (who.1 + 1, 2));
    assert_eq!(
        (follows.generation_id, follows.members.len()),
        (who.1 + 1, 0)
    );
    assert_eq!(follows.leader, leads.member_id);
}

#[tokio::test]
async fn groups_outlive_their_coordinator_and_members_go_on_in_their_generation() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;
    let who = join_alone(&mut client, "readers").await;

    for partition in 0..OFFSETS_PARTITIONS {
        spu.script.elect(OFFSETS_TOPIC, partition, Some(0));
    }

    // Between two reigns the client is told to look for the coordinator again.
    let mut answers = vec![heartbeat(&mut client, "readers", &who).await];
    while answers.last() != Some(&0) {
        answers.push(heartbeat(&mut client, "readers", &who).await);
    }
    assert!(
        answers.iter().all(|code| [0, 14, 16].contains(code)),
        "{answers:?}"
    );
    spu.script.elect(OFFSETS_TOPIC, 0, Some(7));
    spu.script.elect(OFFSETS_TOPIC, 1, Some(7));
    spu.script.elect(OFFSETS_TOPIC, 2, Some(7));
    let mut told = 0;
    while told == 0 {
        told = heartbeat(&mut client, "readers", &who).await;
    }
    assert_eq!(told, 16, "another SPU coordinates it");
}

#[tokio::test]
async fn a_member_goes_on_while_its_coordinator_still_reads() {
    let spu = start(&[]).await;
    let (mut client, mut other) = (spu.client().await, spu.client().await);
    let who = join_alone(&mut client, "readers").await;
    let partitions = 0..OFFSETS_PARTITIONS;
    let led_in = async |epoch| {
        for partition in partitions.clone() {
            until("the next reign has begun", || {
                try_leader(&spu.spu, OFFSETS_TOPIC, partition)
                    .ok()
                    .filter(|replica| replica.leader_epoch() == LeaderEpoch(epoch))
            })
            .await;
        }
    };
    for partition in partitions.clone() {
        // The other replica never fetches, so nothing is committed from now on.
        let replicas = [0, 1];
        spu.script
            .set_replicas(OFFSETS_TOPIC, partition, &replicas, &replicas);
        spu.script.elect(OFFSETS_TOPIC, partition, Some(0));
    }
    led_in(2).await;
    let request = commit_request("readers", (&who.0, who.1), &[(0, 5)]);
    other.send(&request, 9).await;
    until("the commit is in the log", || {
        let mut led = partitions.clone();
        led.find_map(|partition| {
            let replica = try_leader(&spu.spu, OFFSETS_TOPIC, partition).ok()?;
            (replica.log().log_end() > replica.high_watermark()).then_some(())
        })
    })
    .await;
    for partition in partitions.clone() {
        spu.script.elect(OFFSETS_TOPIC, partition, Some(0));
    }
    led_in(3).await;

    assert_eq!(heartbeat(&mut client, "readers", &who).await, 0);
    let sync = SyncGroupRequest::default()
        .with_group_id(group("readers"))
        .with_generation_id(who.1)
        .with_member_id(text(&who.0));
    let synced = client.call(&sync, 5).await;
    let rebalances = KafkaError::RebalanceInProgress.code();
    assert_eq!(synced.error_code, rebalances);
}

#[tokio::test]
async fn groups_are_listed_and_deleted_once_nobody_is_in_them() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;
    let who = join_alone(&mut client, "readers").await;
    commit(&mut client, "by-hand", ("", -1), &[(0, 5)]).await;
    let list = |states: &[&str]| {
        let states = states.iter().map(|state| text(state)).collect();
        ListGroupsRequest::default().with_states_filter(states)
    };
    let mut names = Vec::new();
    for states in [&[][..], &["stable"], &["Empty"], &["Dead"]] {
        let listed = client.call(&list(states), 5).await;
        assert_eq!(listed.error_code, 0);
        let listed = listed.groups.into_iter();
        let mut listed: Vec<_> = listed.map(|group| group.group_id.to_string()).collect();
        listed.sort();
        names.push(listed);
    }
    assert_eq!(
        names,
        [
            vec!["by-hand", "readers"],
            vec!["readers"],
            vec!["by-hand"],
            vec![]
        ]
    );

    let all = [group("readers"), group("by-hand"), group("strangers")];
    let delete = DeleteGroupsRequest::default().with_groups_names(all.to_vec());
    let deleted = client.call(&delete, 2).await.results.into_iter();
    let codes: Vec<_> = deleted.map(|result| result.error_code).collect();

    assert_eq!(codes, [68, 0, 69]);
    assert_eq!(committed(&mut client, "by-hand").await, [-1, -1]);
    assert_eq!(heartbeat(&mut client, "readers", &who).await, 0);
}

#[tokio::test]
async fn offsets_go_with_their_topic_and_expire_once_their_group_is_empty() {
    let flags = ["--offsets-retention=300ms", "--offsets-check-interval=50ms"];
    let spu = start(&flags).await;
    let mut client = spu.client().await;
    let who = join_alone(&mut client, "readers").await;
    let as_member = (who.0.as_str(), who.1);
    commit(&mut client, "readers", as_member, &[(0, 5), (1, 6)]).await;
    commit(&mut client, "by-hand", ("", -1), &[(0, 5)]).await;
    while committed(&mut client, "by-hand").await != [-1, -1] {}
    assert_eq!(
        committed(&mut client, "readers").await,
        [5, 6],
        "it is read"
    );

    spu.script.delete_topic("t");

    while committed(&mut client, "readers").await != [-1, -1] {}
    assert_eq!(leave(&mut client, "readers", &who).await, 0);
    let mut groups = 1;
    while groups > 0 {
        let listed = client.call(&ListGroupsRequest::default(), 4).await;
        groups = listed.groups.len();
    }
}

#[tokio::test]
async fn a_member_that_falls_silent_is_forgotten() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;
    let request = join_request("readers", "").with_session_timeout_ms(100);
    let promised = client.call(&request, 9).await;
    let request = request.with_member_id(promised.member_id);
    let joined = client.call(&request, 9).await;
    assert_eq!(joined.error_code, 0);

    let asked = DescribeGroupsRequest::default().with_groups(vec![group("readers")]);
    let mut state = String::new();
    while state != "Empty" {
        let described = client.call(&asked, 5).await.groups.remove(0);
        state = described.group_state.to_string();
    }
    let who = (joined.member_id.to_string(), joined.generation_id);
    assert_eq!(heartbeat(&mut client, "readers", &who).await, 25);
}

pub(crate) fn consumer_heartbeat(member: &str, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group("readers"))
        .with_member_id(text(member))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(-1)
        .with_subscribed_topic_names(None)
        .with_topic_partitions(None);
    if epoch != 0 {
        return request;
    }
    request
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![topic("t")]))
        .with_topic_partitions(Some(Vec::new()))
}

#[tokio::test]
async fn a_member_that_the_coordinator_assigns_to_is_told_its_partitions_and_commits_in_its_epoch()
{
    let spu = start(&["--group-consumer-heartbeat-interval=700ms"]).await;
    let mut client = spu.client().await;

    let joined = client.call(&consumer_heartbeat("m", 0), 1).await;

    assert_eq!((joined.error_code, joined.heartbeat_interval_ms), (0, 700));
    let told = joined.assignment.unwrap().topic_partitions.remove(0);
    let id = spu.spu.context().view.current().topics[&"t".parse().unwrap()].id;
    assert_eq!((told.topic_id, told.partitions), (id.0, vec![0, 1]));
    let epoch = joined.member_epoch;
    let quiet = client.call(&consumer_heartbeat("m", epoch), 1).await;
    assert_eq!((quiet.error_code, quiet.member_epoch), (0, epoch));
    assert_eq!(quiet.assignment, None);
    let fenced = client.call(&consumer_heartbeat("m", epoch + 7), 1).await;
    assert_eq!(fenced.error_code, 110);
    assert_eq!(
        commit(&mut client, "readers", ("m", epoch), &[(0, 5)]).await,
        [0]
    );
    assert_eq!(
        commit(&mut client, "readers", ("m", epoch - 1), &[(0, 6)]).await,
        [113]
    );
    assert_eq!(
        commit(&mut client, "readers", ("n", epoch), &[(0, 6)]).await,
        [25]
    );
    assert_eq!(committed(&mut client, "readers").await, [5, -1]);

    let asked = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("readers")]);
    let described = client.call(&asked, 1).await.groups.remove(0);
    assert_eq!(&*described.group_state, "Stable");
    assert_eq!(&*described.assignor_name, "uniform");
    let member = &described.members[0];
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!(member.assignment.topic_partitions[0].partitions, [0, 1]);
    let only = |kind: &str| ListGroupsRequest::default().with_types_filter(vec![text(kind)]);
    let listed = client.call(&only("consumer"), 5).await.groups;
    assert_eq!((listed.len(), &*listed[0].group_type), (1, "consumer"));
    assert!(client.call(&only("classic"), 5).await.groups.is_empty());
    let refused = client.call(&join_request("readers", ""), 9).await;
    assert_eq!(refused.error_code, 23);

    let left = client.call(&consumer_heartbeat("m", -1), 1).await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group("readers")]);
    let deleted = client.call(&delete, 2).await.results.remove(0);
    assert_eq!(deleted.error_code, 0);
    assert_eq!(committed(&mut client, "readers").await, [-1, -1]);
}

#[tokio::test]
async fn what_is_no_heartbeat_of_a_member_is_refused_with_a_reason() {
    let spu = start(&[]).await;
    let mut client = spu.client().await;
    let nothing = consumer_heartbeat("m", 0).with_subscribed_topic_names(None);
    let assignor = consumer_heartbeat("m", 0).with_server_assignor(Some(text("mine")));
    let regex = nothing.clone().with_subscribed_topic_regex(Some(text("(")));
    let stranger = consumer_heartbeat("stranger", 4);

    let mut codes = Vec::new();
    for request in [nothing, assignor, regex, stranger] {
        codes.push(client.call(&request, 1).await.error_code);
    }

    assert_eq!(codes, [42, 112, 128, 25]);
}
