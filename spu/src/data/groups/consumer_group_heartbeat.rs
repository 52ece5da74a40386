//! ConsumerGroupHeartbeat: a member of a group whose coordinator assigns (KIP-848).

use std::collections::BTreeSet;
use std::time::Duration;

use thalweg_types::TopicId;
use thalweg_wire::messages::consumer_group_heartbeat_response::{
    Assignment as ToldAssignment, TopicPartitions,
};
use thalweg_wire::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use thalweg_wire::{KafkaError, RequestHeader, StrBytes};
use uuid::Uuid;

use super::super::router::Router;
use super::{call, checked_id, checked_instance, client_host, client_id, text};
use crate::groups::{Assignment, HeartbeatAnswer, HeartbeatRequest, MemberEpochAnswer};

/// The epoch of somebody who joins.
const JOIN: i32 = 0;
/// The most topics that a member may name.
const TOPICS_MAX: usize = 10_000;

pub(in crate::data) async fn answer(
    router: &Router,
    header: &RequestHeader,
    request: ConsumerGroupHeartbeatRequest,
) -> ConsumerGroupHeartbeatResponse {
    match heartbeat(router, header, request).await {
        Ok(answer) => {
            let interval = router
                .shared
                .context
                .options
                .groups
                .consumer_heartbeat_interval;
            let interval_ms = i32::try_from(interval.as_millis()).unwrap_or(i32::MAX);
            success(answer).with_heartbeat_interval_ms(interval_ms)
        }
        Err(error) => {
            let response = ConsumerGroupHeartbeatResponse::default()
                .with_error_code(error.code())
                .with_member_epoch(-1);
            response.with_error_message(explanation(error).map(StrBytes::from_static_str))
        }
    }
}

/// What people are told beside the code, where it needs saying.
fn explanation(error: KafkaError) -> Option<&'static str> {
    Some(match error {
        KafkaError::InconsistentGroupProtocol => {
            "members of the classic protocol are in this group: stop them first"
        }
        KafkaError::UnsupportedAssignor => "the assignors are `uniform` and `range`",
        KafkaError::InvalidRegularExpression => "the regular expression can't be used",
        KafkaError::UnreleasedInstanceId => {
            "another member holds this instance id: it must leave or be given up first"
        }
        _ => return None,
    })
}

async fn heartbeat(
    router: &Router,
    header: &RequestHeader,
    request: ConsumerGroupHeartbeatRequest,
) -> MemberEpochAnswer {
    let group = request.group_id.0.clone();
    let asked = read(router, header, request)?;
    let answered = call(&router.shared, &group, |groups, group, waiter, now| {
        groups.consumer_heartbeat(group, asked, waiter, now)
    });
    answered.await?
}

fn read(
    router: &Router,
    header: &RequestHeader,
    request: ConsumerGroupHeartbeatRequest,
) -> Result<HeartbeatRequest, KafkaError> {
    let mut member_id = checked_id(&request.member_id)?;
    if member_id.is_empty() && request.member_epoch == JOIN && header.api_version == 0 {
        // Before version 1 it is the coordinator that gives it.
        member_id = Uuid::new_v4().to_string();
    }
    let rebalance_timeout_ms = u64::try_from(request.rebalance_timeout_ms).ok();
    let topics = request.subscribed_topic_names;
    if topics
        .as_ref()
        .is_some_and(|topics| topics.len() > TOPICS_MAX)
    {
        return Err(KafkaError::InvalidRequest);
    }
    let as_names = |topics: Vec<thalweg_wire::messages::TopicName>| {
        let names = topics.iter().map(|name| checked_id(name));
        names.collect::<Result<BTreeSet<_>, _>>()
    };
    let checked_text = |text: Option<&StrBytes>| text.map(|text| checked_id(text)).transpose();
    let owned = request.topic_partitions.map(|owned| {
        let owned = owned.into_iter();
        owned
            .map(|topic| {
                (
                    TopicId(topic.topic_id),
                    topic.partitions.into_iter().collect(),
                )
            })
            .collect::<Assignment>()
    });
    Ok(HeartbeatRequest {
        member_id,
        epoch: request.member_epoch,
        instance_id: checked_instance(request.instance_id.as_ref())?,
        rack_id: checked_text(request.rack_id.as_ref())?,
        client_id: client_id(header).to_owned(),
        client_host: client_host(router),
        rebalance_timeout: rebalance_timeout_ms.map(Duration::from_millis),
        topics: topics.map(as_names).transpose()?,
        regex: request
            .subscribed_topic_regex
            .map(|regex| regex.to_string()),
        assignor: checked_text(request.server_assignor.as_ref())?,
        owned,
    })
}

fn success(answer: HeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = answer.assignment.map(|assignment| {
        let topics = assignment.into_iter().map(|(topic, partitions)| {
            TopicPartitions::default()
                .with_topic_id(topic.0)
                .with_partitions(partitions.into_iter().collect())
        });
        ToldAssignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_member_id(Some(text(&answer.member_id)))
        .with_member_epoch(answer.epoch)
        .with_assignment(assignment)
}
