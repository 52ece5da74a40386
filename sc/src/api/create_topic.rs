//! `CreateTopic`: check, store the topic as pending, let the controller place its partitions.

use thalweg_metadata::{Refused, Write};
use thalweg_proto::InvalidField;
use thalweg_proto::v1::{CreateTopicRequest, CreateTopicResponse};
use thalweg_types::TopicId;
use thalweg_types::resource::{
    Resource, ResourceVersion, Topic, TopicSpec, TopicState, TopicStatus,
};
use tracing::info;
use uuid::Uuid;

use super::error::ApiError;
use super::topic_rules::{check_new, own_topic_name};
use crate::state::{ChangeError, Controller};

pub(super) async fn create_topic(
    controller: &Controller,
    request: CreateTopicRequest,
) -> Result<CreateTopicResponse, ApiError> {
    let CreateTopicRequest {
        name,
        spec,
        validate_only,
    } = request;
    let name = own_topic_name(&name)?;
    let spec = spec.ok_or_else(|| InvalidField::missing("spec"))?;
    let spec = TopicSpec::try_from(spec).map_err(|error| error.under("spec"))?;

    let changing = controller.change().await;
    let observed = changing.observe().await?;
    if let Some(existing) = observed.topics.get(&name) {
        return Err(match existing.status.state {
            TopicState::Deleting => ApiError::TopicBeingDeleted(name),
            _ => ApiError::TopicExists(name),
        });
    }
    check_new(&name, &spec, &observed)?;
    let mut topic = Topic {
        name: name.clone(),
        id: TopicId(Uuid::nil()),
        spec,
        status: TopicStatus {
            state: TopicState::Pending,
            reason: String::new(),
        },
        version: ResourceVersion(0),
    };
    if !validate_only {
        topic.id = TopicId(Uuid::new_v4());
        let created = changing.write(Write::Create(topic.into())).await;
        let created = created.map_err(|error| match error {
            ChangeError::Refused(Refused::AlreadyExists(_)) => ApiError::TopicExists(name.clone()),
            other => other.into(),
        })?;
        changing.reconcile().await?;
        let stored = controller.store().get(&created.key()).await?;
        let Some(Resource::Topic(stored)) = stored else {
            return Err(ApiError::NoSuchTopic(name));
        };
        info!(topic = %stored.name, id = %stored.id, "created a topic");
        topic = stored;
    }
    Ok(CreateTopicResponse {
        topic: Some(topic.into()),
    })
}
