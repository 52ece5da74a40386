//! ConsumerGroupDescribe: groups whose coordinator assigns, in full (KIP-848).

use thalweg_wire::KafkaError;
use thalweg_wire::messages::consumer_group_describe_response::{
    Assignment as ToldAssignment, DescribedGroup, Member, TopicPartitions,
};
use thalweg_wire::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId, TopicName,
};

use super::super::connection::Shared;
use super::{call, text};
use crate::cluster_view::View;
use crate::groups::{Assignment, ConsumerDescribed, ConsumerMemberDescribed};

/// The type of members of this protocol.
const MEMBER_TYPE_CONSUMER: i8 = 1;

pub(super) async fn answer(
    shared: &Shared,
    request: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let mut groups = Vec::with_capacity(request.group_ids.len());
    for group in request.group_ids {
        groups.push(describe(shared, group, version).await);
    }
    ConsumerGroupDescribeResponse::default().with_groups(groups)
}

async fn describe(shared: &Shared, group: GroupId, version: i16) -> DescribedGroup {
    let described = call(shared, &group, |groups, group, waiter, _| {
        waiter.tell(groups.describe_consumer(group));
        Vec::new()
    });
    let response = DescribedGroup::default().with_group_id(group.clone());
    match described.await {
        Ok(Some(described)) => {
            let view = shared.context.view.current();
            tell(response, described, &view, version)
        }
        Ok(None) => {
            let message = format!("there is no group `{}` of the consumer protocol", group.0);
            response
                .with_error_code(KafkaError::GroupIdNotFound.code())
                .with_error_message(Some(text(&message)))
        }
        Err(error) => response.with_error_code(error.code()),
    }
}

fn tell(
    response: DescribedGroup,
    described: ConsumerDescribed,
    view: &View,
    version: i16,
) -> DescribedGroup {
    let members = described.members.into_iter();
    let members = members.map(|member| tell_member(member, view, version));
    response
        .with_group_state(text(described.state))
        .with_group_epoch(described.epoch)
        .with_assignment_epoch(described.target_epoch)
        .with_assignor_name(text(described.assignor))
        .with_members(members.collect())
}

fn tell_member(member: ConsumerMemberDescribed, view: &View, version: i16) -> Member {
    let about = member.about;
    let optional = |value: Option<String>| value.map(|value| text(&value));
    let topics = about.topics.iter().map(|name| TopicName(text(name)));
    let told = Member::default()
        .with_member_id(text(&member.member_id))
        .with_instance_id(optional(about.instance_id))
        .with_rack_id(optional(about.rack_id))
        .with_member_epoch(member.epoch)
        .with_client_id(text(&about.client_id))
        .with_client_host(text(&about.client_host))
        .with_subscribed_topic_names(topics.collect())
        .with_subscribed_topic_regex(optional(about.regex))
        .with_assignment(tell_assignment(member.assigned, view))
        .with_target_assignment(tell_assignment(member.target, view));
    if version >= 1 {
        told.with_member_type(MEMBER_TYPE_CONSUMER)
    } else {
        told
    }
}

fn tell_assignment(assignment: Assignment, view: &View) -> ToldAssignment {
    // A topic that is gone is no longer anybody's.
    let topics = assignment.into_iter().filter_map(|(id, partitions)| {
        let topic = view.topic_by_id(id)?;
        let told = TopicPartitions::default()
            .with_topic_id(id.0)
            .with_topic_name(TopicName(text(topic.name.as_str())))
            .with_partitions(partitions.into_iter().collect());
        Some(told)
    });
    ToldAssignment::default().with_topic_partitions(topics.collect())
}
