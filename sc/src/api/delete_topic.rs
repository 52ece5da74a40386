//! `DeleteTopic`: mark the topic, let the controller delete its partitions and then it.

use thalweg_metadata::Write;
use thalweg_proto::v1::{DeleteTopicRequest, DeleteTopicResponse};
use thalweg_types::resource::{Resource, ResourceKey, Topic, TopicState, TopicStatus};
use tracing::info;

use super::error::ApiError;
use super::topic_rules::own_topic_name;
use crate::state::Controller;
use crate::transforms::rules::user_of;

pub(super) async fn delete_topic(
    controller: &Controller,
    request: DeleteTopicRequest,
) -> Result<DeleteTopicResponse, ApiError> {
    let DeleteTopicRequest { name } = request;
    let name = own_topic_name(&name)?;

    let changing = controller.change().await;
    let stored = controller
        .store()
        .get(&ResourceKey::Topic(name.clone()))
        .await?;
    let Some(Resource::Topic(topic)) = stored else {
        return Err(ApiError::NoSuchTopic(name));
    };
    let observed = changing.observe().await?;
    if let Some((transform, how)) = user_of(&name, &observed) {
        return Err(ApiError::TopicInUse {
            topic: name,
            transform: transform.clone(),
            how,
        });
    }
    let id = topic.id;
    if topic.status.state != TopicState::Deleting {
        let status = TopicStatus {
            state: TopicState::Deleting,
            reason: String::new(),
        };
        changing
            .write(Write::Update(Topic { status, ..topic }.into()))
            .await?;
    }
    changing.reconcile().await?;
    info!(topic = %name, %id, "deleted a topic");
    Ok(DeleteTopicResponse {
        topic_id: id.to_string(),
    })
}
