//! The messages about consumer groups.

use bytes::Bytes;
use kafka_protocol::messages::*;

use super::{assert_shapes, tagged, text, topic};

fn group(name: &'static str) -> GroupId {
    GroupId(text(name))
}

#[test]
fn find_coordinator_has_its_shape_in_every_version() {
    use find_coordinator_response::Coordinator;

    assert_shapes(
        |version| {
            let mut request =
                FindCoordinatorRequest::default().with_unknown_tagged_fields(tagged(version, 3));
            if version < 4 {
                request = request.with_key(text("readers"));
            } else {
                request = request.with_coordinator_keys(vec![text("readers"), text("others")]);
            }
            if version >= 1 {
                request = request.with_key_type(1);
            }
            request
        },
        |version| {
            if version >= 4 {
                let coordinator = Coordinator::default()
                    .with_key(text("readers"))
                    .with_node_id(BrokerId(3))
                    .with_host(text("host"))
                    .with_port(9092)
                    .with_error_message(Some(text("none yet")))
                    .with_unknown_tagged_fields(tagged(version, 3));
                return FindCoordinatorResponse::default().with_coordinators(vec![coordinator]);
            }
            let mut response = FindCoordinatorResponse::default()
                .with_error_code(15)
                .with_node_id(BrokerId(3))
                .with_host(text("host"))
                .with_port(9092);
            if version >= 1 {
                response = response.with_error_message(Some(text("none yet")));
            }
            response
        },
    );
}

#[test]
fn offset_commit_has_its_shape_in_every_version() {
    use offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};

    assert_shapes(
        |version| {
            let mut partition = OffsetCommitRequestPartition::default()
                .with_partition_index(2)
                .with_committed_offset(77)
                .with_committed_metadata(Some(text("why")))
                .with_unknown_tagged_fields(tagged(version, 8));
            if version >= 6 {
                partition = partition.with_committed_leader_epoch(4);
            }
            let mut request = OffsetCommitRequest::default()
                .with_group_id(group("readers"))
                .with_generation_id_or_member_epoch(5)
                .with_member_id(text("member"))
                .with_topics(vec![
                    OffsetCommitRequestTopic::default()
                        .with_name(topic("flights"))
                        .with_partitions(vec![
                            partition.clone(),
                            partition.with_committed_metadata(None),
                        ]),
                ]);
            if version >= 7 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            request
        },
        |version| {
            let partition = OffsetCommitResponsePartition::default()
                .with_partition_index(2)
                .with_error_code(27)
                .with_unknown_tagged_fields(tagged(version, 8));
            OffsetCommitResponse::default().with_topics(vec![
                OffsetCommitResponseTopic::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![partition]),
            ])
        },
    );
}

#[test]
fn offset_fetch_has_its_shape_in_every_version() {
    use offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    };
    use offset_fetch_response::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };

    assert_shapes(
        |version| {
            let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
            if version < 8 {
                let asked = OffsetFetchRequestTopic::default()
                    .with_name(topic("flights"))
                    .with_partition_indexes(vec![0, 1, 2])
                    .with_unknown_tagged_fields(tagged(version, 6));
                return request
                    .with_group_id(group("readers"))
                    .with_topics(Some(vec![asked]));
            }
            let asked = OffsetFetchRequestTopics::default()
                .with_name(topic("flights"))
                .with_partition_indexes(vec![0, 1, 2]);
            let mut of_group = OffsetFetchRequestGroup::default()
                .with_group_id(group("readers"))
                .with_topics(Some(vec![asked]))
                .with_unknown_tagged_fields(tagged(version, 6));
            if version >= 9 {
                of_group = of_group
                    .with_member_id(Some(text("member")))
                    .with_member_epoch(3);
            }
            let everything = OffsetFetchRequestGroup::default()
                .with_group_id(group("others"))
                .with_topics(None);
            request.with_groups(vec![of_group, everything])
        },
        |version| {
            let response = OffsetFetchResponse::default();
            if version < 8 {
                let mut partition = OffsetFetchResponsePartition::default()
                    .with_partition_index(1)
                    .with_committed_offset(77)
                    .with_metadata(Some(text("why")));
                if version >= 5 {
                    partition = partition.with_committed_leader_epoch(4);
                }
                return response.with_topics(vec![
                    OffsetFetchResponseTopic::default()
                        .with_name(topic("flights"))
                        .with_partitions(vec![partition]),
                ]);
            }
            let partition = OffsetFetchResponsePartitions::default()
                .with_partition_index(1)
                .with_committed_offset(77)
                .with_committed_leader_epoch(4)
                .with_metadata(None);
            let of_topic = OffsetFetchResponseTopics::default()
                .with_name(topic("flights"))
                .with_partitions(vec![partition]);
            response.with_groups(vec![
                OffsetFetchResponseGroup::default()
                    .with_group_id(group("readers"))
                    .with_topics(vec![of_topic])
                    .with_unknown_tagged_fields(tagged(version, 6)),
            ])
        },
    );
}

#[test]
fn join_group_has_its_shape_in_every_version() {
    use join_group_request::JoinGroupRequestProtocol;
    use join_group_response::JoinGroupResponseMember;

    assert_shapes(
        |version| {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(b"topics"))
                .with_unknown_tagged_fields(tagged(version, 6));
            let mut request = JoinGroupRequest::default()
                .with_group_id(group("readers"))
                .with_session_timeout_ms(10_000)
                .with_member_id(text("member"))
                .with_protocol_type(text("consumer"))
                .with_protocols(vec![protocol]);
            if version >= 1 {
                request = request.with_rebalance_timeout_ms(60_000);
            }
            if version >= 5 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            if version >= 8 {
                request = request.with_reason(Some(text("why not")));
            }
            request
        },
        |version| {
            let mut member = JoinGroupResponseMember::default()
                .with_member_id(text("member"))
                .with_metadata(Bytes::from_static(b"topics"));
            if version >= 5 {
                member = member.with_group_instance_id(Some(text("instance")));
            }
            let mut response = JoinGroupResponse::default()
                .with_generation_id(4)
                .with_protocol_name(Some(text("range")))
                .with_leader(text("member"))
                .with_member_id(text("member"))
                .with_members(vec![member])
                .with_unknown_tagged_fields(tagged(version, 6));
            if version >= 7 {
                response = response.with_protocol_type(Some(text("consumer")));
            }
            if version >= 9 {
                response = response.with_skip_assignment(true);
            }
            response
        },
    );
}

#[test]
fn sync_group_has_its_shape_in_every_version() {
    use sync_group_request::SyncGroupRequestAssignment;

    assert_shapes(
        |version| {
            let assignment = SyncGroupRequestAssignment::default()
                .with_member_id(text("member"))
                .with_assignment(Bytes::from_static(b"partitions"))
                .with_unknown_tagged_fields(tagged(version, 4));
            let mut request = SyncGroupRequest::default()
                .with_group_id(group("readers"))
                .with_generation_id(4)
                .with_member_id(text("member"))
                .with_assignments(vec![assignment]);
            if version >= 3 {
                request = request.with_group_instance_id(Some(text("instance")));
            }
            if version >= 5 {
                request = request
                    .with_protocol_type(Some(text("consumer")))
                    .with_protocol_name(Some(text("range")));
            }
            request
        },
        |version| {
            let response = SyncGroupResponse::default()
                .with_error_code(27)
                .with_assignment(Bytes::from_static(b"partitions"));
            if version < 5 {
                return response;
            }
            response
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("range")))
        },
    );
}

#[test]
fn heartbeat_and_leave_group_have_their_shapes_in_every_version() {
    use leave_group_request::MemberIdentity;
    use leave_group_response::MemberResponse;

    assert_shapes(
        |version| {
            let request = HeartbeatRequest::default()
                .with_group_id(group("readers"))
                .with_generation_id(4)
                .with_member_id(text("member"))
                .with_unknown_tagged_fields(tagged(version, 4));
            if version < 3 {
                return request;
            }
            request.with_group_instance_id(Some(text("instance")))
        },
        |_| HeartbeatResponse::default().with_error_code(27),
    );
    assert_shapes(
        |version| {
            let request = LeaveGroupRequest::default().with_group_id(group("readers"));
            if version < 3 {
                return request.with_member_id(text("member"));
            }
            let mut member = MemberIdentity::default()
                .with_member_id(text("member"))
                .with_group_instance_id(Some(text("instance")));
            if version >= 5 {
                member = member.with_reason(Some(text("done")));
            }
            request.with_members(vec![member])
        },
        |version| {
            let response = LeaveGroupResponse::default().with_error_code(25);
            if version < 3 {
                return response;
            }
            response.with_members(vec![
                MemberResponse::default()
                    .with_member_id(text("member"))
                    .with_error_code(25)
                    .with_unknown_tagged_fields(tagged(version, 4)),
            ])
        },
    );
}

#[test]
fn what_administers_groups_has_its_shape_in_every_version() {
    use delete_groups_response::DeletableGroupResult;
    use describe_groups_response::{DescribedGroup, DescribedGroupMember};
    use list_groups_response::ListedGroup;

    assert_shapes(
        |version| {
            DescribeGroupsRequest::default()
                .with_groups(vec![group("readers"), group("others")])
                .with_include_authorized_operations(version >= 3)
        },
        |version| {
            let mut member = DescribedGroupMember::default()
                .with_member_id(text("member"))
                .with_client_id(text("client"))
                .with_client_host(text("/::1"))
                .with_member_metadata(Bytes::from_static(b"topics"))
                .with_member_assignment(Bytes::from_static(b"partitions"));
            if version >= 4 {
                member = member.with_group_instance_id(Some(text("instance")));
            }
            let mut described = DescribedGroup::default()
                .with_group_id(group("readers"))
                .with_group_state(text("Stable"))
                .with_protocol_type(text("consumer"))
                .with_protocol_data(text("range"))
                .with_members(vec![member])
                .with_unknown_tagged_fields(tagged(version, 5));
            if version >= 6 {
                described = described.with_error_message(Some(text("none")));
            }
            DescribeGroupsResponse::default().with_groups(vec![described])
        },
    );
    assert_shapes(
        |version| {
            let mut request = ListGroupsRequest::default();
            if version >= 4 {
                request = request.with_states_filter(vec![text("Stable")]);
            }
            if version >= 5 {
                request = request.with_types_filter(vec![text("classic")]);
            }
            request
        },
        |version| {
            let mut listed = ListedGroup::default()
                .with_group_id(group("readers"))
                .with_protocol_type(text("consumer"))
                .with_unknown_tagged_fields(tagged(version, 3));
            if version >= 4 {
                listed = listed.with_group_state(text("Stable"));
            }
            if version >= 5 {
                listed = listed.with_group_type(text("classic"));
            }
            ListGroupsResponse::default().with_groups(vec![listed])
        },
    );
    assert_shapes(
        |_| DeleteGroupsRequest::default().with_groups_names(vec![group("readers")]),
        |version| {
            DeleteGroupsResponse::default().with_results(vec![
                DeletableGroupResult::default()
                    .with_group_id(group("readers"))
                    .with_error_code(68)
                    .with_unknown_tagged_fields(tagged(version, 2)),
            ])
        },
    );
}

#[test]
fn offset_delete_has_its_shape() {
    use offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
    use offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};

    assert_shapes(
        |_| {
            OffsetDeleteRequest::default()
                .with_group_id(group("readers"))
                .with_topics(vec![
                    OffsetDeleteRequestTopic::default()
                        .with_name(topic("flights"))
                        .with_partitions(vec![
                            OffsetDeleteRequestPartition::default().with_partition_index(2),
                        ]),
                ])
        },
        |_| {
            OffsetDeleteResponse::default().with_topics(vec![
                OffsetDeleteResponseTopic::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![
                        OffsetDeleteResponsePartition::default()
                            .with_partition_index(2)
                            .with_error_code(86),
                    ]),
            ])
        },
    );
}

#[test]
fn consumer_group_heartbeat_has_its_shape_in_every_version() {
    use consumer_group_heartbeat_request::TopicPartitions as Owned;
    use consumer_group_heartbeat_response::{Assignment, TopicPartitions};

    assert_shapes(
        |version| {
            let owned = Owned::default()
                .with_topic_id(uuid::Uuid::from_u128(7))
                .with_partitions(vec![1, 2])
                .with_unknown_tagged_fields(tagged(version, 0));
            let request = ConsumerGroupHeartbeatRequest::default()
                .with_group_id(group("readers"))
                .with_member_id(text("member"))
                .with_member_epoch(3)
                .with_instance_id(Some(text("instance")))
                .with_rebalance_timeout_ms(60_000)
                .with_subscribed_topic_names(Some(vec![topic("flights")]))
                .with_server_assignor(Some(text("uniform")))
                .with_topic_partitions(Some(vec![owned]));
            if version < 1 {
                return request;
            }
            request.with_subscribed_topic_regex(Some(text("fli.*")))
        },
        |version| {
            let partitions = TopicPartitions::default()
                .with_topic_id(uuid::Uuid::from_u128(7))
                .with_partitions(vec![1]);
            ConsumerGroupHeartbeatResponse::default()
                .with_member_id(Some(text("member")))
                .with_member_epoch(3)
                .with_assignment(Some(
                    Assignment::default()
                        .with_topic_partitions(vec![partitions])
                        .with_unknown_tagged_fields(tagged(version, 0)),
                ))
        },
    );
    assert_shapes(
        |_| ConsumerGroupHeartbeatRequest::default(),
        |_| ConsumerGroupHeartbeatResponse::default().with_assignment(None),
    );
}

#[test]
fn consumer_group_describe_has_its_shape_in_every_version() {
    use consumer_group_describe_response::{Assignment, DescribedGroup, Member, TopicPartitions};

    assert_shapes(
        |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![group("readers")]),
        |version| {
            let partitions = TopicPartitions::default()
                .with_topic_id(uuid::Uuid::from_u128(7))
                .with_topic_name(topic("flights"))
                .with_partitions(vec![1]);
            let assignment = Assignment::default().with_topic_partitions(vec![partitions]);
            let member = Member::default()
                .with_member_id(text("member"))
                .with_member_epoch(3)
                .with_subscribed_topic_names(vec![topic("flights")])
                .with_assignment(assignment.clone())
                .with_target_assignment(assignment)
                .with_unknown_tagged_fields(tagged(version, 0));
            ConsumerGroupDescribeResponse::default().with_groups(vec![
                DescribedGroup::default()
                    .with_group_id(group("readers"))
                    .with_group_state(text("Stable"))
                    .with_members(vec![member]),
            ])
        },
    );
}
