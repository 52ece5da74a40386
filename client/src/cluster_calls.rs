//! Questions that any SPU answers, asked until one does.

use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::{Backoff, BackoffOptions};
use thalweg_types::{ConfigKey, ErrorCode, ProducerEpoch, ProducerId, TopicName};
use thalweg_wire::messages::describe_configs_request::DescribeConfigsResource;
use thalweg_wire::messages::{DescribeConfigsRequest, InitProducerIdRequest};
use thalweg_wire::{ApiRequest, StrBytes, error_code_of, kafka_error};

use crate::client::ClientCore;
use crate::data::{RequestError, TopicMetadata, kafka_name};

/// How long a topic that the SC knows, or may know, is waited for.
const NEW_TOPIC_PATIENCE: Duration = Duration::from_secs(10);
/// The same where no SC can say whether it exists.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_millis(500);

/// Kafka's number for topics among the resources that have settings.
const TOPIC_RESOURCE: i8 = 2;

impl ClientCore {
    /// A topic, waited for where it was created just now: SPUs hear of it a moment after the SC.
    pub(crate) async fn existing_topic(
        &self,
        topic: &TopicName,
    ) -> Result<Option<Arc<TopicMetadata>>, RequestError> {
        let asked_at = self.clock.monotonic();
        let mut patience = None;
        let mut backoff = Backoff::new(BackoffOptions {
            initial: Duration::from_millis(10),
            max: Duration::from_millis(200),
        });
        loop {
            let found = self.metadata.topic(topic).await?;
            if found
                .as_ref()
                .is_some_and(|topic| !topic.partitions.is_empty())
            {
                return Ok(found);
            }
            let patience = match patience {
                Some(patience) => patience,
                None => *patience.insert(self.patience_for(topic).await),
            };
            if self.clock.monotonic().saturating_sub(asked_at) >= patience {
                return Ok(found);
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// An identity that no other producer has.
    pub(crate) async fn new_producer_identity(
        &self,
    ) -> Result<(ProducerId, ProducerEpoch), RequestError> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let answer = self
            .ask_any_spu("InitProducerId", &request, |answer| answer.error_code)
            .await?;
        Ok((
            ProducerId(answer.producer_id.0),
            ProducerEpoch(answer.producer_epoch),
        ))
    }

    /// The largest batch that `topic` accepts, in bytes.
    pub(crate) async fn max_message_bytes(&self, topic: &TopicName) -> Result<usize, RequestError> {
        let key = ConfigKey::MaxMessageBytes;
        let resource = DescribeConfigsResource::default()
            .with_resource_type(TOPIC_RESOURCE)
            .with_resource_name(StrBytes::from_string(topic.to_string()))
            .with_configuration_keys(Some(vec![StrBytes::from_static_str(key.name())]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self
            .ask_any_spu("DescribeConfigs", &request, |answer| {
                answer.results.first().map_or(0, |result| result.error_code)
            })
            .await?;
        let settings = answer.results.iter().flat_map(|result| &result.configs);
        let value = settings
            .filter(|setting| setting.name.as_str() == key.name())
            .find_map(|setting| setting.value.as_ref()?.parse().ok());
        let default = || key.default_value().parse().expect("a default is a number");
        Ok(value.unwrap_or_else(default))
    }

    async fn patience_for(&self, topic: &TopicName) -> Duration {
        match self.sc.topic_exists(topic).await {
            Ok(true) => NEW_TOPIC_PATIENCE,
            Err(error) if error.code() == ErrorCode::NotFound => Duration::ZERO,
            Ok(false) | Err(_) => UNKNOWN_TOPIC_PATIENCE,
        }
    }

    /// Asks whichever SPU answers, again while the answer is that it can't now.
    async fn ask_any_spu<R: ApiRequest>(
        &self,
        name: &'static str,
        request: &R,
        error_code: impl Fn(&R::Response) -> i16,
    ) -> Result<R::Response, RequestError> {
        let asked_at = self.clock.monotonic();
        let mut backoff = Backoff::new(BackoffOptions::default());
        loop {
            let address = self.metadata.any_spu().await?;
            let connection = self.connections.get(&address).await?;
            let answer = connection.call(request, self.request_timeout()).await?;
            let code = error_code(&answer);
            let Some(error) = kafka_error(code) else {
                return Ok(answer);
            };
            let waited = self.clock.monotonic().saturating_sub(asked_at);
            if !error_code_of(error).is_retryable() || waited >= self.request_timeout() {
                return Err(RequestError::Refused {
                    address,
                    request: name,
                    kafka_code: code,
                    name: kafka_name(code),
                });
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }
}
