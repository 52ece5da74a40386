//! Messages about who leads and who holds partitions, and who writes them.

use super::*;

#[test]
fn placement_messages_have_their_shapes_in_every_version() {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    use alter_partition_reassignments_response::{
        ReassignablePartitionResponse, ReassignableTopicResponse,
    };
    use elect_leaders_request::TopicPartitions;
    use elect_leaders_response::{PartitionResult, ReplicaElectionResult};
    use list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    use list_partition_reassignments_response::{
        OngoingPartitionReassignment, OngoingTopicReassignment,
    };

    assert_shapes(
        |_| {
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![
                TopicPartitions::default()
                    .with_topic(topic("flights"))
                    .with_partitions(vec![0, 7]),
            ]))
        },
        |_| {
            ElectLeadersResponse::default().with_replica_election_results(vec![
                ReplicaElectionResult::default().with_partition_result(vec![
                    PartitionResult::default().with_error_message(Some(text("down"))),
                ]),
            ])
        },
    );
    assert_shapes(
        |_| {
            AlterPartitionReassignmentsRequest::default().with_topics(vec![
                ReassignableTopic::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![
                        ReassignablePartition::default().with_replicas(Some(vec![BrokerId(2)])),
                        ReassignablePartition::default().with_replicas(None),
                    ]),
            ])
        },
        |_| {
            AlterPartitionReassignmentsResponse::default().with_responses(vec![
                ReassignableTopicResponse::default()
                    .with_partitions(vec![ReassignablePartitionResponse::default()]),
            ])
        },
    );
    assert_shapes(
        |_| {
            ListPartitionReassignmentsRequest::default().with_topics(Some(vec![
                ListPartitionReassignmentsTopics::default().with_partition_indexes(vec![1]),
            ]))
        },
        |_| {
            ListPartitionReassignmentsResponse::default().with_topics(vec![
                OngoingTopicReassignment::default().with_partitions(vec![
                    OngoingPartitionReassignment::default().with_replicas(vec![BrokerId(1)]),
                ]),
            ])
        },
    );
}

#[test]
fn what_is_known_of_producers_has_its_shape() {
    use describe_producers_request::TopicRequest;
    use describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};

    assert_shapes(
        |_| {
            DescribeProducersRequest::default().with_topics(vec![
                TopicRequest::default()
                    .with_name(topic("flights"))
                    .with_partition_indexes(vec![0, 7]),
            ])
        },
        |_| {
            DescribeProducersResponse::default().with_topics(vec![
                TopicResponse::default()
                    .with_name(topic("flights"))
                    .with_partitions(vec![
                        PartitionResponse::default()
                            .with_error_message(Some(text("down")))
                            .with_active_producers(vec![ProducerState::default()]),
                    ]),
            ])
        },
    );
}
