//! The way to the SC for what an SPU can't answer itself: topic administration that Kafka clients
//! ask of any broker, and blocks of producer ids.
//!
//! The connection is made when first used and again after it broke. While the SC is down every
//! call fails after a short time with a retryable error.

mod placement;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use thalweg_proto::v1::admin_client::AdminClient;
use thalweg_proto::v1::control_client::ControlClient;
use thalweg_proto::{InvalidField, ServiceError, connect_lazily, error_code, v1};
use thalweg_runtime::net::tls::TlsClient;
use thalweg_types::resource::{SmartModule, SmartModuleSpec, Topic, TopicSpec};
use thalweg_types::{ErrorCode, ResourceName, SpuId, TopicId, TopicName};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the SC may take to answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the SC is asked whether it is still there, and how long it may take to say so: what
/// ends a stream whose other side is gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// The largest message from the SC: a snapshot of some 100,000 partitions.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Why the SC did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AdminError {
    /// It could not be reached, or did not answer in time.
    #[error("the SC at `{sc}` does not answer: {reason}; retry, and check that it is up")]
    Unreachable {
        /// Its address.
        sc: String,
        /// What happened.
        reason: String,
    },
    /// It refused.
    #[error("{message}")]
    Refused {
        /// What the caller must do.
        code: ErrorCode,
        /// The SC's words.
        message: String,
    },
    /// Its answer makes no sense to this version.
    #[error("the SC at `{sc}` gave an answer that this SPU does not understand")]
    Answer {
        /// Its address.
        sc: String,
        /// What is wrong with it.
        source: InvalidField,
    },
}

impl ServiceError for AdminError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Unreachable { .. } => ErrorCode::Unavailable,
            Self::Refused { code, .. } => *code,
            Self::Answer { .. } => ErrorCode::Internal,
        }
    }
}

/// A topic to create.
#[derive(Debug, Clone)]
pub struct NewTopic {
    /// Its name; the SC checks it.
    pub name: String,
    /// Its partitions and settings.
    pub spec: TopicSpec,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

/// What to change in a topic.
#[derive(Debug, Clone, Default)]
pub struct TopicUpdate {
    /// Settings to change.
    pub set_config: BTreeMap<String, String>,
    /// Settings to return to their defaults.
    pub unset_config: Vec<String>,
    /// The new number of partitions; absent for no change.
    pub partitions: Option<i32>,
    /// Where the added partitions live; empty to let the SC choose.
    pub added_assignments: Vec<Vec<SpuId>>,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

/// The SC as this SPU calls it. Cheap to share.
#[derive(Debug, Clone)]
pub struct AdminForward {
    sc: String,
    spu_id: SpuId,
    channel: Channel,
}

impl AdminForward {
    /// Calls the SC at `sc` (`HOST:PORT`) from now on, under TLS where it is given; connects when first used. Must be called
    /// within a tokio runtime.
    ///
    /// # Errors
    /// When `sc` is no address.
    pub fn new(
        sc: &str,
        tls: Option<Arc<TlsClient>>,
        spu_id: SpuId,
    ) -> Result<Self, tonic::transport::Error> {
        let endpoint = Endpoint::from_shared(format!("http://{sc}"))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(CALL_TIMEOUT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE);
        Ok(Self {
            sc: sc.to_owned(),
            spu_id,
            channel: connect_lazily(&endpoint, tls),
        })
    }

    /// Creates a topic. Returns once it is stored; its partitions come online after.
    ///
    /// # Errors
    /// When the SC refuses it or does not answer.
    pub async fn create_topic(&self, topic: NewTopic) -> Result<Topic, AdminError> {
        let request = v1::CreateTopicRequest {
            name: topic.name,
            spec: Some(topic.spec.into()),
            validate_only: topic.validate_only,
        };
        let answer = self.admin().create_topic(request).await;
        self.topic(self.answered(answer)?.topic)
    }

    /// Deletes a topic and its data.
    ///
    /// # Errors
    /// When the SC refuses it or does not answer.
    pub async fn delete_topic(&self, name: &TopicName) -> Result<TopicId, AdminError> {
        let request = v1::DeleteTopicRequest {
            name: name.to_string(),
        };
        let answer = self.admin().delete_topic(request).await;
        self.answered(answer)?
            .topic_id
            .parse()
            .map_err(|error| self.misunderstood(InvalidField::new("topic_id", error)))
    }

    /// Changes a topic's settings or adds partitions.
    ///
    /// # Errors
    /// When the SC refuses it or does not answer.
    pub async fn update_topic(
        &self,
        name: &TopicName,
        update: TopicUpdate,
    ) -> Result<Topic, AdminError> {
        let request = v1::UpdateTopicRequest {
            name: name.to_string(),
            set_config: update.set_config.into_iter().collect(),
            unset_config: update.unset_config,
            partitions: update.partitions,
            added_assignments: update
                .added_assignments
                .into_iter()
                .map(Into::into)
                .collect(),
            expected_version: None,
            validate_only: update.validate_only,
            produce_chain: None,
        };
        let answer = self.admin().update_topic(request).await;
        self.topic(self.answered(answer)?.topic)
    }

    /// What is registered under a SmartModule's name.
    pub(crate) async fn smart_module(
        &self,
        name: &ResourceName,
    ) -> Result<SmartModuleSpec, AdminError> {
        let request = v1::GetSmartModuleRequest {
            name: name.to_string(),
        };
        let answer = self.admin().get_smart_module(request).await;
        self.answered(answer)?
            .smart_module
            .ok_or_else(|| InvalidField::missing("smart_module"))
            .and_then(SmartModule::try_from)
            .map(|module| module.spec)
            .map_err(|source| self.misunderstood(source))
    }

    /// A block of producer ids that nobody else gets.
    pub(crate) async fn allocate_producer_ids(&self) -> Result<Range<i64>, AdminError> {
        let request = v1::AllocateProducerIdsRequest {
            spu_id: self.spu_id.0,
        };
        let answer = self.control().allocate_producer_ids(request).await;
        let block = self.answered(answer)?;
        let end = block.first.checked_add(i64::from(block.count));
        match end {
            Some(end) if block.first >= 0 && end > block.first => Ok(block.first..end),
            _ => Err(self.misunderstood(InvalidField::new("count", "is no block of ids"))),
        }
    }

    /// Has the SC make the topic that keeps consumer groups, where it is missing.
    pub(crate) async fn ensure_offsets_topic(&self) -> Result<(), AdminError> {
        let request = v1::EnsureOffsetsTopicRequest {
            spu_id: self.spu_id.0,
        };
        let answer = self.control().ensure_offsets_topic(request).await;
        self.answered(answer).map(drop)
    }

    /// The control conversation over the same connection.
    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX)
    }

    fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    fn answered<T>(&self, answer: Result<tonic::Response<T>, Status>) -> Result<T, AdminError> {
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => Err(self.failed(&status)),
        }
    }

    fn failed(&self, status: &Status) -> AdminError {
        use thalweg_proto::ERROR_CODE_ENTRY;
        // Without our own code the status is the transport's and not the SC's.
        if status.metadata().get(ERROR_CODE_ENTRY).is_none() {
            return AdminError::Unreachable {
                sc: self.sc.clone(),
                reason: innermost_reason(status),
            };
        }
        AdminError::Refused {
            code: error_code(status),
            message: status.message().to_owned(),
        }
    }

    fn topic(&self, topic: Option<v1::Topic>) -> Result<Topic, AdminError> {
        topic
            .ok_or_else(|| InvalidField::missing("topic"))
            .and_then(Topic::try_from)
            .map_err(|source| self.misunderstood(source))
    }

    fn misunderstood(&self, source: InvalidField) -> AdminError {
        AdminError::Answer {
            sc: self.sc.clone(),
            source,
        }
    }
}

/// What a transport error comes down to: `connection refused` rather than `transport error`.
pub(crate) fn innermost_reason(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        reason = error.to_string();
        cause = error.source();
    }
    reason
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_sc_that_is_down_is_a_retryable_error_that_names_it() {
        // Port 1 is never listened on.
        let admin = AdminForward::new("127.0.0.1:1", None, SpuId(0)).unwrap();

        let error = admin
            .delete_topic(&TopicName::new("orders").unwrap())
            .await
            .unwrap_err();

        assert!(error.code().is_retryable());
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    }

    #[tokio::test]
    async fn an_address_that_is_none_is_refused() {
        assert!(AdminForward::new("not an address", None, SpuId(0)).is_err());
    }
}
