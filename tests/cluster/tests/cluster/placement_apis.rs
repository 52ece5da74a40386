//! Who leads and who holds partitions, as Kafka clients ask about it.

use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::SpuId;
use thalweg_wire::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use thalweg_wire::messages::elect_leaders_request::TopicPartitions;
use thalweg_wire::messages::{
    AlterPartitionReassignmentsRequest, BrokerId, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, TopicName as KafkaTopicName,
};
use thalweg_wire::{KafkaError, StrBytes};

use crate::bad_bytes::RawConnection;
use crate::replication::partitions;

fn kafka_name() -> KafkaTopicName {
    KafkaTopicName(StrBytes::from_static_str("numbers"))
}

fn reassignment(partition: i32, to: Option<&[i32]>) -> AlterPartitionReassignmentsRequest {
    let to = to.map(|to| to.iter().copied().map(BrokerId).collect());
    let partition = ReassignablePartition::default()
        .with_partition_index(partition)
        .with_replicas(to);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![
        ReassignableTopic::default()
            .with_name(kafka_name())
            .with_partitions(vec![partition]),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_clients_move_replicas_see_the_moves_and_hold_elections() {
    let cluster = LocalCluster::start_configured(3, &["--leader-balance-interval=0"], &[]).await;
    let topic = cluster.create_replicated_topic("numbers", 1, 2, &[]).await;
    let client = cluster.client().await;
    let mut kafka = RawConnection::open(&cluster).await;
    let list = ListPartitionReassignmentsRequest::default().with_topics(None);

    // SPU 2 is paused, so that the move goes on for as long as the test looks.
    cluster.spu(2).pause().unwrap();
    let begun = kafka.call(&reassignment(0, Some(&[2, 0])), 0).await;
    assert_eq!(begun.responses[0].partitions[0].error_code, 0);
    let listed = kafka.call(&list, 0).await;
    let ongoing = &listed.topics[0].partitions[0];
    assert_eq!(ongoing.replicas, [2, 0, 1].map(BrokerId));
    assert_eq!(ongoing.adding_replicas, [BrokerId(2)]);
    assert_eq!(ongoing.removing_replicas, [BrokerId(1)]);
    cluster.spu(2).resume().unwrap();
    eventually("the move is done", || async {
        let rows = partitions(&client, &topic).await;
        (rows.first()?.spec.replicas == [2, 0].map(SpuId)).then_some(())
    })
    .await;
    assert!(kafka.call(&list, 0).await.topics.is_empty());

    for (request, error) in [
        (reassignment(0, None), KafkaError::NoReassignmentInProgress),
        (
            reassignment(0, Some(&[9])),
            KafkaError::InvalidReplicaAssignment,
        ),
        (
            reassignment(5, Some(&[1])),
            KafkaError::UnknownTopicOrPartition,
        ),
    ] {
        let refused = kafka.call(&request, 0).await;
        assert_eq!(refused.responses[0].partitions[0].error_code, error.code());
    }

    let of = |partitions: Vec<i32>| {
        ElectLeadersRequest::default().with_topic_partitions(Some(vec![
            TopicPartitions::default()
                .with_topic(kafka_name())
                .with_partitions(partitions),
        ]))
    };
    let elected = kafka.call(&of(vec![0, 5]), 2).await;
    let results = &elected.replica_election_results[0].partition_result;
    assert_eq!(results[0].error_code, 0);
    assert_eq!(
        results[1].error_code,
        KafkaError::UnknownTopicOrPartition.code()
    );
    let rows = partitions(&client, &topic).await;
    assert_eq!(rows[0].status.leader, Some(SpuId(2)));
    let again = kafka.call(&of(vec![0]), 1).await;
    assert_eq!(
        again.replica_election_results[0].partition_result[0].error_code,
        KafkaError::ElectionNotNeeded.code()
    );
    let of_all = ElectLeadersRequest::default().with_topic_partitions(None);
    let of_all = kafka.call(&of_all, 2).await;
    assert!(of_all.replica_election_results.is_empty());
}
