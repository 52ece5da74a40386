//! `thalweg group` and its group consumers, as a user at a shell meets them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use thalweg_tests_cluster::LocalCluster;
use thalweg_wire::StrBytes;
use thalweg_wire::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use thalweg_wire::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, OffsetCommitRequest,
    TopicName as KafkaTopicName,
};

use crate::bad_bytes::RawConnection;

/// The epoch of a member that leaves.
const LEAVES: i32 = -1;

/// What a command says, as JSON.
fn json(cluster: &LocalCluster, arguments: &[&str]) -> Value {
    let outcome = cluster.thalweg(&[arguments, &["--output", "json"]].concat());
    let errors = String::from_utf8_lossy(&outcome.stderr);
    assert!(outcome.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&outcome.stdout).expect("it is JSON")
}

/// How a command that fails ends, and what it says.
fn failure(cluster: &LocalCluster, arguments: &[&str]) -> (i32, String) {
    let outcome = cluster.thalweg(arguments);
    let errors = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(!outcome.status.success(), "{arguments:?} succeeds");
    (outcome.status.code().expect("no signal ended it"), errors)
}

/// Topic `orders`, with so many records in each of its partitions.
async fn create_orders(cluster: &LocalCluster, records: &[usize]) {
    let partitions = i32::try_from(records.len()).unwrap();
    cluster.create_topic("orders", partitions, &[]).await;
    for (partition, count) in records.iter().enumerate() {
        let lines = cluster.path("lines.txt");
        std::fs::write(&lines, "order\n".repeat(*count)).unwrap();
        let (lines, partition) = (lines.to_string_lossy(), partition.to_string());
        let produce = ["produce", "orders", "--file", &lines, "-p", &partition];
        assert!(cluster.thalweg(&produce).status.success());
    }
}

/// A heartbeat of a member of `assigned` that reads `orders`, whose coordinator assigns (KIP-848).
async fn heartbeat(
    connection: &mut RawConnection,
    member: &str,
    epoch: i32,
) -> ConsumerGroupHeartbeatResponse {
    let orders = KafkaTopicName(StrBytes::from_static_str("orders"));
    let joins = epoch == 0;
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("assigned")))
        .with_member_id(StrBytes::from_string(member.to_owned()))
        .with_member_epoch(epoch)
        .with_rebalance_timeout_ms(if joins { 60_000 } else { -1 })
        .with_subscribed_topic_names(joins.then(|| vec![orders]))
        .with_topic_partitions(joins.then(Vec::new));
    let answer = connection.call(&request, 1).await;
    assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
    answer
}

/// Commits an offset of `orders/0` as a member of `assigned`.
async fn commit(connection: &mut RawConnection, member: &str, epoch: i32, offset: i64) {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(0)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(-1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(KafkaTopicName(StrBytes::from_static_str("orders")))
        .with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("assigned")))
        .with_generation_id_or_member_epoch(epoch)
        .with_member_id(StrBytes::from_string(member.to_owned()))
        .with_topics(vec![topic]);
    let answer = connection.call(&request, 9).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_their_coordinator_assigns_are_described_reset_and_deleted_as_others() {
    let cluster = LocalCluster::start(1).await;
    create_orders(&cluster, &[3, 0]).await;
    // Waits until the group has a coordinator.
    let admin = cluster.client().await.admin();
    admin.group_offsets("assigned").await.unwrap();
    let mut connection = RawConnection::open(&cluster).await;

    let first = heartbeat(&mut connection, "first", 0).await;
    commit(&mut connection, "first", first.member_epoch, 1).await;
    let alone = json(&cluster, &["group", "describe", "assigned"]);
    heartbeat(&mut connection, "second", 0).await;
    let shared = json(&cluster, &["group", "describe", "assigned"]);
    let table = cluster.thalweg(&["group", "describe", "assigned"]).stdout;
    let listed = json(&cluster, &["group", "list"]);
    let reset = failure(&cluster, &["group", "reset", "assigned", "--to-end"]);
    let deleted = failure(&cluster, &["group", "delete", "assigned", "--yes"]);

    assert_eq!(
        (&alone["state"], &alone["kind"]),
        (&"Stable".into(), &"consumer".into())
    );
    assert_eq!(alone["members"][0]["partitions"], 2);
    assert_eq!(alone["members"][0]["epoch"], first.member_epoch);
    assert_eq!(alone["members"][0]["target"], Value::Null);
    let rows = alone["partitions"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{alone}");
    assert_eq!(
        (&rows[0]["committed"], &rows[0]["lag"]),
        (&1.into(), &2.into())
    );
    assert_eq!(rows[1]["member"], "first");
    // The first one has yet to let go of what the second one is to have.
    assert_eq!(shared["state"], "Reconciling");
    assert_eq!(shared["members"].as_array().unwrap().len(), 2);
    let target = shared["members"][0]["target"].as_array().unwrap();
    assert_eq!(target.len(), 1, "{shared}");
    let table = String::from_utf8(table).unwrap();
    assert!(
        table.contains("TARGET") && table.contains("orders-1"),
        "{table}"
    );
    let row = serde_json::json!({"group": "assigned", "kind": "consumer", "state": "Reconciling"});
    assert_eq!(listed, Value::Array(vec![row]));
    for (status, errors) in [reset, deleted] {
        assert_eq!(status, 1, "{errors}");
        assert!(
            errors.contains("thalweg group describe assigned"),
            "{errors}"
        );
    }

    heartbeat(&mut connection, "first", LEAVES).await;
    heartbeat(&mut connection, "second", LEAVES).await;
    let empty = json(&cluster, &["group", "describe", "assigned"]);
    let reset = json(&cluster, &["group", "reset", "assigned", "--to-end"]);
    let deleted = cluster.thalweg(&["group", "delete", "assigned", "--yes"]);
    let gone = failure(&cluster, &["group", "describe", "assigned"]);

    assert_eq!(
        (&empty["state"], &empty["lag"]),
        (&"Empty".into(), &2.into())
    );
    assert_eq!(reset["partitions"][0]["to"], 3);
    assert!(deleted.status.success());
    assert_eq!(gone.0, 3, "{}", gone.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_asked_to_end_leaves_its_group_and_commits_what_it_has_printed() {
    let cluster = LocalCluster::start(1).await;
    create_orders(&cluster, &[3, 2]).await;
    let mut consuming = cluster
        .thalweg_command(&["consume", "orders", "-B", "--group", "billing"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consuming.stdout.take().unwrap()).lines();
    for _ in 0..5 {
        assert_eq!(lines.next().unwrap().unwrap(), "order");
    }

    ask_to_end(&consuming);
    let status = consuming.wait().unwrap();
    let described = json(&cluster, &["group", "describe", "billing"]);

    assert_eq!(status.code(), Some(0));
    assert_eq!(described["members"], Value::Array(Vec::new()));
    assert_eq!(
        (&described["state"], &described["lag"]),
        (&"Empty".into(), &0.into())
    );
}

/// As service managers do.
pub(crate) fn ask_to_end(process: &Child) {
    let pid = Pid::from_raw(i32::try_from(process.id()).unwrap());
    kill_process(pid.unwrap(), Signal::TERM).unwrap();
}

/// What a group has committed of each partition of `orders`.
fn committed(cluster: &LocalCluster, group: &str) -> Vec<u64> {
    let described = json(cluster, &["group", "describe", group]);
    let rows = described["partitions"].as_array().unwrap().iter();
    let of_orders = rows.filter(|row| row["topic"] == "orders");
    of_orders
        .map(|row| row["committed"].as_u64().unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_reset_in_every_way_and_a_dry_run_changes_nothing() {
    let cluster = LocalCluster::start(1).await;
    create_orders(&cluster, &[5, 3]).await;
    let read = ["consume", "orders", "-B", "-d", "--output", "json"];
    let read = cluster.thalweg(&[&read[..], &["--group", "billing"]].concat());
    let records: Vec<Value> = String::from_utf8(read.stdout)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let newest = records.iter().map(|record| record["timestamp"].as_u64());
    let newest = newest.max().flatten().unwrap();
    let at_newest = [0, 1].map(|partition| {
        let of_partition = records.iter().filter(|it| it["partition"] == partition);
        let before = |record: &&Value| record["timestamp"].as_u64() < Some(newest);
        u64::try_from(of_partition.filter(before).count()).unwrap()
    });
    let newest = newest.to_string();
    let reset = |how: &[&str]| json(&cluster, &[&["group", "reset", "billing"], how].concat());

    let planned = reset(&["--to-beginning", "--dry-run"]);
    assert_eq!(planned["changed"], false);
    assert_eq!(
        (
            &planned["partitions"][0]["from"],
            &planned["partitions"][0]["to"]
        ),
        (&5.into(), &0.into())
    );
    assert_eq!(committed(&cluster, "billing"), [5, 3]);
    for (how, expected) in [
        (&["--to-beginning"][..], [0, 0]),
        (&["--to-end"], [5, 3]),
        (&["--to-offset", "2"], [2, 2]),
        (&["--to-offset", "100"], [5, 3]),
        (&["--shift", "-2"], [3, 1]),
        (&["--shift", "1", "--partition", "0"], [4, 1]),
        (&["--shift", "-100"], [0, 0]),
        (&["--to-time", "2100-01-01T00:00:00Z"], [5, 3]),
        (
            &["--to-time", "-1h", "--topic", "orders", "--partition", "1"],
            [5, 0],
        ),
        (&["--to-time", &newest], at_newest),
    ] {
        let done = reset(how);
        assert_eq!(done["changed"], true, "{how:?}");
        assert_eq!(committed(&cluster, "billing"), expected, "{how:?}");
    }

    cluster.create_topic("refunds", 3, &[]).await;
    let other = reset(&["--topic", "refunds", "--to-beginning"]);
    assert_eq!(other["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(committed(&cluster, "billing"), at_newest);
    for (group, how, advice) in [
        ("billing", &["--topic", "nosuch", "--to-end"][..], "nosuch"),
        (
            "billing",
            &["--topic", "orders", "--partition", "77", "--to-end"],
            "no partition 77",
        ),
        ("strangers", &["--to-end"], "--topic"),
        (
            "strangers",
            &["--topic", "orders", "--shift", "1"],
            "--to-offset",
        ),
    ] {
        let (_, errors) = failure(&cluster, &[&["group", "reset", group], how].concat());
        assert!(errors.contains(advice), "{errors}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_was_killed_and_comes_back_goes_on_before_its_session_is_over() {
    let cluster = LocalCluster::start(1).await;
    create_orders(&cluster, &[1]).await;
    let consume = ["consume", "orders", "-B", "--group", "billing"];
    let consume = [&consume[..], &["--group-instance-id", "desk-1"]].concat();
    let start = || {
        let mut command = cluster.thalweg_command(&consume);
        command.stdout(Stdio::piped()).spawn().unwrap()
    };
    let first_line = |child: &mut Child| {
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        tokio::task::spawn_blocking(move || output.read_line(&mut line).map(|_| line))
    };
    let mut first = start();
    assert_eq!(first_line(&mut first).await.unwrap().unwrap(), "order\n");
    let before = json(&cluster, &["group", "describe", "billing"]);

    first.kill().unwrap();
    first.wait().unwrap();
    // Whatever the first one had committed, there is something to read.
    let lines = cluster.path("lines.txt");
    let produced = cluster.thalweg(&["produce", "orders", "--file", &lines.to_string_lossy()]);
    assert!(produced.status.success());
    let mut second = start();
    let line = first_line(&mut second);
    // Without a name it would wait out the session of the one that was killed: 45 s.
    let line = tokio::time::timeout(Duration::from_secs(30), line).await;
    let after = json(&cluster, &["group", "describe", "billing"]);
    second.kill().unwrap();
    second.wait().unwrap();

    assert_eq!(line.expect("in time").unwrap().unwrap(), "order\n");
    for described in [before, after] {
        let members = described["members"].as_array().unwrap();
        assert_eq!(members.len(), 1, "{described}");
        assert_eq!(members[0]["instance_id"], "desk-1");
    }
}
