//! DeleteTopics: forwarded to the SC.

use thalweg_types::{TopicId, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::delete_topics_request::DeleteTopicState;
use thalweg_wire::messages::delete_topics_response::DeletableTopicResult;
use thalweg_wire::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::connection::Shared;
use super::internal_topics;
use super::refusal::Refusal;

pub(super) async fn answer(
    shared: &Shared,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let by_name = request
        .topic_names
        .into_iter()
        .map(|name| DeleteTopicState::default().with_name(Some(name)));
    let mut responses = Vec::new();
    for topic in request.topics.into_iter().chain(by_name) {
        let mut result = DeletableTopicResult::default().with_name(topic.name.clone());
        if version >= 6 {
            result = result.with_topic_id(topic.topic_id);
        }
        match delete(shared, &topic).await {
            Ok((name, id)) => {
                result = result.with_name(Some(name));
                if version >= 6 {
                    result = result.with_topic_id(id.0);
                }
            }
            Err(refusal) => {
                result = result.with_error_code(refusal.code());
                if version >= 5 {
                    result = result.with_error_message(Some(refusal.text()));
                }
            }
        }
        responses.push(result);
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete(
    shared: &Shared,
    topic: &DeleteTopicState,
) -> Result<(thalweg_wire::messages::TopicName, TopicId), Refusal> {
    let name = match &topic.name {
        Some(name) => TopicName::new(name)?,
        None => {
            let view = shared.context.view.current();
            let known = view.topic_by_id(TopicId(topic.topic_id));
            known
                .map(|topic| topic.name.clone())
                .ok_or_else(|| Refusal::new(KafkaError::UnknownTopicId, "no topic has this id"))?
        }
    };
    internal_topics::check_change(&name)?;
    let id = shared.context.admin.delete_topic(&name).await?;
    let name = thalweg_wire::StrBytes::from_string(name.to_string());
    Ok((thalweg_wire::messages::TopicName(name), id))
}
