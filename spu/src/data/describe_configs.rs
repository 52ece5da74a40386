//! DescribeConfigs: the settings of topics, and of this SPU.

use std::collections::BTreeSet;

use thalweg_types::{ConfigKey, TopicConfig, TopicName};
use thalweg_wire::messages::describe_configs_request::DescribeConfigsResource;
use thalweg_wire::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use thalweg_wire::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use thalweg_wire::{KafkaError, StrBytes};

use super::connection::Shared;
use super::refusal::Refusal;
use crate::options::SpuOptions;

/// Kafka's number for a topic.
pub(super) const RESOURCE_TOPIC: i8 = 2;
/// Kafka's number for a broker.
pub(super) const RESOURCE_BROKER: i8 = 4;
/// The value was set for this topic.
pub(super) const SOURCE_TOPIC: i8 = 1;
/// The value was given when the SPU started.
const SOURCE_STATIC_BROKER: i8 = 4;
/// Nobody set it.
pub(super) const SOURCE_DEFAULT: i8 = 5;

/// Kafka's numbers for types.
mod config_type {
    pub(super) const BOOLEAN: i8 = 1;
    pub(super) const STRING: i8 = 2;
    pub(super) const INT: i8 = 3;
    pub(super) const LONG: i8 = 5;
    pub(super) const DOUBLE: i8 = 6;
    pub(super) const LIST: i8 = 7;
}

/// One setting, before it is put into the words of a version.
struct Setting {
    name: &'static str,
    value: String,
    source: i8,
    is_read_only: bool,
    default: Option<String>,
    config_type: i8,
    documentation: &'static str,
}

pub(super) async fn answer(
    shared: &Shared,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    // Each once: a name of three bytes may stand for a large answer.
    let mut answered = BTreeSet::new();
    let results = request
        .resources
        .iter()
        .filter(|resource| answered.insert((resource.resource_type, &resource.resource_name)))
        .map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match settings(shared, resource) {
                Ok(settings) => result.with_configs(
                    settings
                        .into_iter()
                        .filter(|setting| is_asked_for(resource, setting.name))
                        .map(|setting| described(setting, &request, version))
                        .collect(),
                ),
                Err(refusal) => result
                    .with_error_code(refusal.code())
                    .with_error_message(Some(refusal.text())),
            }
        })
        .collect();
    DescribeConfigsResponse::default().with_results(results)
}

/// No list asks for all.
fn is_asked_for(resource: &DescribeConfigsResource, name: &str) -> bool {
    resource
        .configuration_keys
        .as_ref()
        .is_none_or(|keys| keys.iter().any(|key| key.as_str() == name))
}

fn settings(shared: &Shared, resource: &DescribeConfigsResource) -> Result<Vec<Setting>, Refusal> {
    match resource.resource_type {
        RESOURCE_TOPIC => {
            let name = TopicName::new(&resource.resource_name)?;
            let view = shared.context.view.current();
            let topic = view.topic(&name).ok_or_else(|| {
                let message = format!("there is no topic `{name}`");
                Refusal::new(KafkaError::UnknownTopicOrPartition, message)
            })?;
            Ok(topic_settings(&topic.config))
        }
        RESOURCE_BROKER => {
            let own = shared.context.spu_id.to_string();
            match resource.resource_name.as_str() {
                name if name == own => Ok(spu_settings(&shared.context.options)),
                // The settings that all brokers share and that can be changed: there are none.
                "" => Ok(Vec::new()),
                other => Err(Refusal::new(
                    KafkaError::InvalidRequest,
                    format!("this is SPU {own}, ask SPU {other} for its own settings"),
                )),
            }
        }
        other => Err(Refusal::new(
            KafkaError::InvalidRequest,
            format!("resources of type {other} have no settings here"),
        )),
    }
}

fn topic_settings(config: &TopicConfig) -> Vec<Setting> {
    ConfigKey::ALL
        .iter()
        .map(|key| Setting {
            name: key.name(),
            value: config.get(*key).to_owned(),
            source: if config.is_set(*key) {
                SOURCE_TOPIC
            } else {
                SOURCE_DEFAULT
            },
            is_read_only: false,
            default: Some(key.default_value().to_owned()),
            config_type: type_of(*key),
            documentation: key.documentation(),
        })
        .collect()
}

fn type_of(key: ConfigKey) -> i8 {
    match key {
        ConfigKey::CleanupPolicy => config_type::LIST,
        ConfigKey::MaxMessageBytes | ConfigKey::MinInsyncReplicas | ConfigKey::SegmentBytes => {
            config_type::INT
        }
        ConfigKey::DeleteRetentionMs
        | ConfigKey::MaxCompactionLagMs
        | ConfigKey::MinCompactionLagMs
        | ConfigKey::RetentionBytes
        | ConfigKey::RetentionMs
        | ConfigKey::SegmentMs => config_type::LONG,
        ConfigKey::MinCleanableDirtyRatio => config_type::DOUBLE,
        ConfigKey::UncleanLeaderElection => config_type::BOOLEAN,
        _ => config_type::STRING,
    }
}

/// This SPU's flags, by Kafka's names where Kafka has one.
fn spu_settings(options: &SpuOptions) -> Vec<Setting> {
    let setting = |name, value: String, config_type, documentation| Setting {
        name,
        value,
        source: SOURCE_STATIC_BROKER,
        is_read_only: true,
        default: None,
        config_type,
        documentation,
    };
    vec![
        setting(
            "auto.create.topics.enable",
            options.auto_create_topics.to_string(),
            config_type::BOOLEAN,
            "Whether asking for the metadata of a topic creates it.",
        ),
        setting(
            "broker.id",
            options.id.to_string(),
            config_type::INT,
            "This SPU's number.",
        ),
        setting(
            "broker.rack",
            options.rack.clone(),
            config_type::STRING,
            "Where this SPU stands.",
        ),
        setting(
            "connections.max.idle.ms",
            options.idle_timeout.as_millis().to_string(),
            config_type::LONG,
            "How long a connection may be silent before it is closed, in milliseconds.",
        ),
        setting(
            "default.replication.factor",
            options.default_replication.to_string(),
            config_type::INT,
            "Replicas of a topic whose creator leaves the number open.",
        ),
        setting(
            "fetch.max.bytes",
            options.fetch_bytes_max.to_string(),
            config_type::LONG,
            "The most bytes of records in one fetch answer.",
        ),
        setting(
            "max.connections",
            options.connections_max.to_string(),
            config_type::INT,
            "Client connections at a time; more are refused.",
        ),
        setting(
            "num.partitions",
            options.default_partitions.to_string(),
            config_type::INT,
            "Partitions of a topic whose creator leaves the number open.",
        ),
        setting(
            "queued.max.request.bytes",
            options.request_memory_bytes.to_string(),
            config_type::LONG,
            "Memory for the requests of all connections together.",
        ),
        setting(
            "socket.request.max.bytes",
            options.request_bytes_max.to_string(),
            config_type::LONG,
            "The largest request that is accepted, in bytes.",
        ),
    ]
}

fn described(
    setting: Setting,
    request: &DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResourceResult {
    let mut result = DescribeConfigsResourceResult::default()
        .with_name(StrBytes::from_static_str(setting.name))
        .with_value(Some(StrBytes::from_string(setting.value.clone())))
        .with_read_only(setting.is_read_only)
        .with_config_source(setting.source);
    if request.include_synonyms {
        let synonym = |value: String, source| {
            DescribeConfigsSynonym::default()
                .with_name(StrBytes::from_static_str(setting.name))
                .with_value(Some(StrBytes::from_string(value)))
                .with_source(source)
        };
        let mut synonyms = Vec::new();
        if setting.source != SOURCE_DEFAULT {
            synonyms.push(synonym(setting.value, setting.source));
        }
        if let Some(default) = setting.default {
            synonyms.push(synonym(default, SOURCE_DEFAULT));
        }
        result = result.with_synonyms(synonyms);
    }
    if version >= 3 {
        result = result.with_config_type(setting.config_type);
        if request.include_documentation {
            let documentation = StrBytes::from_static_str(setting.documentation);
            result = result.with_documentation(Some(documentation));
        }
    }
    result
}
