//! IncrementalAlterConfigs and AlterConfigs: a topic's settings, forwarded to the SC.

use thalweg_types::{ConfigKey, TopicConfig, TopicName};
use thalweg_wire::KafkaError;
use thalweg_wire::messages::incremental_alter_configs_request::AlterConfigsResource;
use thalweg_wire::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use thalweg_wire::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, alter_configs_request, alter_configs_response,
};

use super::connection::Shared;
use super::describe_configs::{RESOURCE_BROKER, RESOURCE_TOPIC};
use super::internal_topics;
use super::refusal::Refusal;
use crate::admin::TopicUpdate;

/// What an incremental change does to a setting.
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

pub(super) async fn answer(
    shared: &Shared,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = match topic_of(resource.resource_type, &resource.resource_name) {
            Ok(topic) => match changes(&resource) {
                Ok(update) => apply(shared, &topic, update, request.validate_only).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        responses.push(match altered {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.text())),
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

/// The older form, which replaces all that the user set: what it does not name returns to its
/// default.
pub(super) async fn answer_whole(
    shared: &Shared,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in request.resources {
        let altered = match topic_of(resource.resource_type, &resource.resource_name) {
            Ok(topic) => match replacement(shared, &topic, &resource) {
                Ok(update) => apply(shared, &topic, update, request.validate_only).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => Err(refusal),
        };
        let response = alter_configs_response::AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name);
        responses.push(match altered {
            Ok(()) => response,
            Err(refusal) => response
                .with_error_code(refusal.code())
                .with_error_message(Some(refusal.text())),
        });
    }
    AlterConfigsResponse::default().with_responses(responses)
}

fn topic_of(resource_type: i8, name: &str) -> Result<TopicName, Refusal> {
    match resource_type {
        RESOURCE_TOPIC => {
            let name = TopicName::new(name)?;
            internal_topics::check_change(&name)?;
            Ok(name)
        }
        RESOURCE_BROKER => Err(Refusal::new(
            KafkaError::InvalidRequest,
            "an SPU's settings are its flags: change them and restart it",
        )),
        other => Err(Refusal::new(
            KafkaError::InvalidRequest,
            format!("resources of type {other} have no settings here"),
        )),
    }
}

fn changes(resource: &AlterConfigsResource) -> Result<TopicUpdate, Refusal> {
    let mut update = TopicUpdate::default();
    for setting in &resource.configs {
        let key = known(&setting.name)?;
        match (setting.config_operation, &setting.value) {
            (OPERATION_SET, Some(value)) => {
                checked(&setting.name, value)?;
                update
                    .set_config
                    .insert(key.name().to_owned(), value.to_string());
            }
            (OPERATION_DELETE, _) => update.unset_config.push(key.name().to_owned()),
            (OPERATION_SET, None) => {
                return Err(Refusal::new(
                    KafkaError::InvalidConfig,
                    format!("setting `{}` has no value", key.name()),
                ));
            }
            (other, _) => {
                return Err(Refusal::new(
                    KafkaError::InvalidConfig,
                    format!(
                        "setting `{}` is no list: operation {other} can't be",
                        key.name()
                    ),
                ));
            }
        }
    }
    Ok(update)
}

fn replacement(
    shared: &Shared,
    topic: &TopicName,
    resource: &alter_configs_request::AlterConfigsResource,
) -> Result<TopicUpdate, Refusal> {
    let mut update = TopicUpdate::default();
    for setting in &resource.configs {
        let key = known(&setting.name)?;
        if let Some(value) = &setting.value {
            checked(&setting.name, value)?;
            update
                .set_config
                .insert(key.name().to_owned(), value.to_string());
        }
    }
    if let Some(known) = shared.context.view.current().topic(topic) {
        update.unset_config = known
            .config
            .overrides()
            .filter(|(name, _)| !update.set_config.contains_key(*name))
            .map(|(name, _)| name.to_owned())
            .collect();
    }
    Ok(update)
}

fn known(name: &str) -> Result<ConfigKey, Refusal> {
    name.parse().map_err(|error: thalweg_types::ConfigError| {
        Refusal::new(KafkaError::InvalidConfig, error.to_string())
    })
}

/// Kafka has a code of its own for a wrong value, which the SC's answer does not tell apart.
fn checked(name: &str, value: &str) -> Result<(), Refusal> {
    TopicConfig::default()
        .set(name, value)
        .map_err(|error| Refusal::new(KafkaError::InvalidConfig, error.to_string()))
}

async fn apply(
    shared: &Shared,
    topic: &TopicName,
    mut update: TopicUpdate,
    validate_only: bool,
) -> Result<(), Refusal> {
    update.validate_only = validate_only;
    shared.context.admin.update_topic(topic, update).await?;
    Ok(())
}
