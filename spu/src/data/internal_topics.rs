//! Topics that the cluster keeps for itself: names that begin with `__`. Clients read them, and
//! change nothing about them. As in Kafka, what would is an invalid topic.

use thalweg_types::resource::TransformNumber;
use thalweg_types::{ProducerId, TopicName};
use thalweg_wire::{KafkaError, RequestHeader};

use super::connection::Shared;
use super::refusal::Refusal;

/// Only the SC that this SPU follows produces to internal topics, under the name that it gave, and a transform
/// to its own changelog.
pub(super) fn check_produce(
    shared: &Shared,
    header: &RequestHeader,
    topic: &TopicName,
    producer: ProducerId,
) -> Result<(), Refusal> {
    if !topic.is_internal() {
        return Ok(());
    }
    let of_changelog = TransformNumber::of_changelog(topic);
    if of_changelog.is_some() && of_changelog == TransformNumber::of_producer(producer) {
        return Ok(());
    }
    let view = shared.context.view.current();
    let writer = view.internal_client_id.as_deref();
    if writer.is_some() && header.client_id.as_deref() == writer {
        return Ok(());
    }
    Err(refused(topic))
}

/// Refuses to create, change or delete an internal topic.
pub(super) fn check_change(topic: &TopicName) -> Result<(), Refusal> {
    if topic.is_internal() {
        return Err(refused(topic));
    }
    Ok(())
}

fn refused(topic: &TopicName) -> Refusal {
    Refusal::new(
        KafkaError::InvalidTopicException,
        format!(
            "topic `{topic}` is the cluster's own: clients may read it, and not produce to it, change it or delete it"
        ),
    )
}
