//! CreatePartitions: forwarded to the SC.

use thalweg_types::{SpuId, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::create_partitions_request::CreatePartitionsTopic;
use thalweg_wire::messages::create_partitions_response::CreatePartitionsTopicResult;
use thalweg_wire::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::connection::Shared;
use super::internal_topics;
use super::refusal::Refusal;
use crate::admin::TopicUpdate;

pub(super) async fn answer(
    shared: &Shared,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match create(shared, &topic, request.validate_only).await {
            Ok(()) => result,
            Err(refusal) => result
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.text())),
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn create(
    shared: &Shared,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
) -> Result<(), Refusal> {
    let name = TopicName::new(&topic.name)?;
    internal_topics::check_change(&name)?;
    // Kafka has codes of its own for these, which the SC's answer does not tell apart.
    if let Some(known) = shared.context.view.current().topic(&name) {
        let now = i32::try_from(known.partitions.len()).unwrap_or(i32::MAX);
        if topic.count <= now {
            return Err(Refusal::new(
                KafkaError::InvalidPartitions,
                format!("topic `{name}` has {now} partitions, give more than that"),
            ));
        }
        let added = topic.assignments.as_ref().map_or(0, Vec::len);
        if added > 0 && i32::try_from(added) != Ok(topic.count - now) {
            return Err(Refusal::new(
                KafkaError::InvalidReplicaAssignment,
                format!(
                    "{added} assignments don't fit {} added partitions",
                    topic.count - now
                ),
            ));
        }
    }
    let added_assignments = topic
        .assignments
        .iter()
        .flatten()
        .map(|one| {
            one.broker_ids
                .iter()
                .map(|broker| SpuId(broker.0))
                .collect()
        })
        .collect();
    let update = TopicUpdate {
        partitions: Some(topic.count),
        added_assignments,
        validate_only,
        ..TopicUpdate::default()
    };
    shared.context.admin.update_topic(&name, update).await?;
    Ok(())
}
