//! `thalweg group` and its group consumers, as a user at a shell meets them.

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
