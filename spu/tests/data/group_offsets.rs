//! Groups that forget offsets: only of topics that none of their members reads.

use thalweg_wire::KafkaError;
use thalweg_wire::messages::OffsetDeleteRequest;
use thalweg_wire::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};

use crate::client::RawClient;
use crate::groups::{
    commit_request, committed, consumer_heartbeat, group, join_alone, leave, start,
};
use crate::setup::topic;

/// Has a group forget partitions, and returns the error code of each, or the one of all.
async fn forget(
    client: &mut RawClient,
    name: &str,
    partitions: &[(&str, i32)],
) -> Result<Vec<i16>, i16> {
    let topics = partitions.iter().map(|(name, partition)| {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(*partition);
        OffsetDeleteRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition])
    });
    let request = OffsetDeleteRequest::default()
        .with_group_id(group(name))
        .with_topics(topics.collect());
    let answer = client.call(&request, 0).await;
    if answer.error_code != 0 {
        return Err(answer.error_code);
    }
    let topics = answer.topics.into_iter();
    let partitions = topics.flat_map(|topic| topic.partitions);
    Ok(partitions.map(|partition| partition.error_code).collect())
}

/// Commits an offset of a partition of topic `u`, which nobody reads.
async fn commit_elsewhere(client: &mut RawClient, who: (&str, i32)) {
    let mut request = commit_request("readers", who, &[(0, 7)]);
    request.topics[0].name = topic("u");
    let answer = client.call(&request, 9).await;
    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
}

#[tokio::test]
async fn offsets_of_topics_that_members_read_stay_and_others_go() {
    let spu = start(&[]).await;
    spu.create_topic("u", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    let who = join_alone(&mut client, "readers").await;
    let as_member = (who.0.as_str(), who.1);
    let request = commit_request("readers", as_member, &[(0, 5), (1, 6)]);
    client.call(&request, 9).await;
    commit_elsewhere(&mut client, as_member).await;

    let asked = [("t", 0), ("u", 0), ("t", 9), ("nosuch", 0)];
    let while_read = forget(&mut client, "readers", &asked).await;
    let nowhere = forget(&mut client, "strangers", &[("t", 0)]).await;

    let subscribed = KafkaError::GroupSubscribedToTopic.code();
    let unknown = KafkaError::UnknownTopicOrPartition.code();
    assert_eq!(while_read, Ok(vec![subscribed, 0, unknown, unknown]));
    assert_eq!(nowhere, Err(KafkaError::GroupIdNotFound.code()));
    assert_eq!(committed(&mut client, "readers").await, [5, 6]);
    assert_eq!(leave(&mut client, "readers", &who).await, 0);
    let once_empty = forget(&mut client, "readers", &[("t", 0), ("u", 0)]).await;
    assert_eq!(once_empty, Ok(vec![0, 0]));
    assert_eq!(committed(&mut client, "readers").await, [-1, 6]);
}

#[tokio::test]
async fn the_same_holds_where_the_coordinator_assigns() {
    let spu = start(&[]).await;
    spu.create_topic("u", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    let joined = client.call(&consumer_heartbeat("m", 0), 1).await;
    let as_member = ("m", joined.member_epoch);
    let request = commit_request("readers", as_member, &[(0, 5)]);
    client.call(&request, 9).await;
    commit_elsewhere(&mut client, as_member).await;

    let while_read = forget(&mut client, "readers", &[("t", 0), ("u", 0)]).await;
    client.call(&consumer_heartbeat("m", -1), 1).await;
    let once_empty = forget(&mut client, "readers", &[("t", 0)]).await;

    let subscribed = KafkaError::GroupSubscribedToTopic.code();
    assert_eq!(while_read, Ok(vec![subscribed, 0]));
    assert_eq!(once_empty, Ok(vec![0]));
    assert_eq!(committed(&mut client, "readers").await, [-1, -1]);
}
