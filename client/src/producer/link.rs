//! The way from one partition's sender to the partition's leader.

use std::sync::Arc;
use std::time::Duration;

use thalweg_types::TopicPartition;
use thalweg_wire::{StreamId, StreamPurpose};

use super::{ProduceError, ProducerCore};
use crate::data::{
    Connection, NewStream, OpenStreamError, RequestError, close_stream, open_stream,
};

/// How long a topic that was there may be missing from answers before it counts as deleted: SPUs
/// hear of a topic one after the other.
const MISSING_TOPIC_PATIENCE: Duration = Duration::from_secs(5);

/// A connection to the leader, with the producer's SmartModules bound to it.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) connection: Arc<Connection>,
    pub(crate) stream: Option<StreamId>,
}

/// Makes links to whoever leads.
#[derive(Debug)]
pub(crate) struct LeaderLink {
    core: Arc<ProducerCore>,
    partition: TopicPartition,
    link: Option<Link>,
    /// The answer that told of the leader that turned out wrong.
    stale_answer: Option<u64>,
    last_answer: u64,
    missing_since: Option<Duration>,
}

/// Why there is no link.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// It may work later.
    NotNow(RequestError),
    /// It won't.
    Never(ProduceError),
}

impl LeaderLink {
    pub(crate) fn new(core: Arc<ProducerCore>, partition: TopicPartition) -> Self {
        Self {
            core,
            partition,
            link: None,
            stale_answer: None,
            last_answer: 0,
            missing_since: None,
        }
    }

    /// Forgets the leader: the next link begins with asking who leads.
    pub(crate) fn forget(&mut self) {
        self.link = None;
        self.stale_answer = Some(self.last_answer);
    }

    /// The link, made now where there is none that works.
    pub(crate) async fn get(&mut self) -> Result<Link, LinkError> {
        if let Some(link) = self.link.as_ref().filter(|link| link.connection.is_alive()) {
            return Ok(link.clone());
        }
        let made = self.make().await;
        if matches!(made, Err(LinkError::NotNow(_))) {
            self.forget();
        }
        made
    }

    /// Unbinds the SmartModules.
    pub(crate) async fn close(self) {
        if let Some(Link {
            connection,
            stream: Some(stream),
        }) = self.link
        {
            close_stream(&connection, stream, self.core.options.request_timeout).await;
        }
    }

    async fn make(&mut self) -> Result<Link, LinkError> {
        let metadata = &self.core.client.metadata;
        let topic = match self.stale_answer {
            Some(stale) => metadata.refresh(&self.partition.topic, stale).await,
            None => metadata.topic(&self.partition.topic).await,
        };
        let Some(topic) = topic.map_err(LinkError::NotNow)? else {
            return Err(self.topic_is_missing());
        };
        self.missing_since = None;
        self.last_answer = topic.answer;
        self.stale_answer = None;
        let leader = topic.leader(self.partition.partition);
        let leader = leader.ok_or_else(|| LinkError::NotNow(self.no_leader()))?;
        let connection = self.core.client.connections.get(&leader.address).await;
        let connection = connection.map_err(LinkError::NotNow)?;
        let link = Link {
            stream: self.bind(&connection).await?,
            connection,
        };
        self.link = Some(link.clone());
        Ok(link)
    }

    async fn bind(&self, connection: &Arc<Connection>) -> Result<Option<StreamId>, LinkError> {
        let options = &self.core.options;
        if options.smartmodules.is_empty() {
            return Ok(None);
        }
        let new = NewStream {
            purpose: StreamPurpose::Produce,
            topic: &self.partition.topic,
            modules: &options.smartmodules,
            accumulator: options.accumulator.as_ref(),
            is_by_key: options.accumulate_by_key,
        };
        let opened = open_stream(connection, new, options.request_timeout);
        match opened.await {
            Ok(stream) => Ok(Some(stream)),
            Err(OpenStreamError::Request(error)) => Err(LinkError::NotNow(error)),
            Err(OpenStreamError::Refused(message)) => {
                Err(LinkError::Never(ProduceError::SmartModule {
                    partition: self.partition.clone(),
                    message,
                }))
            }
        }
    }

    fn topic_is_missing(&mut self) -> LinkError {
        let now = self.core.client.clock.monotonic();
        let since = *self.missing_since.get_or_insert(now);
        if now.saturating_sub(since) < MISSING_TOPIC_PATIENCE {
            return LinkError::NotNow(self.no_leader());
        }
        LinkError::Never(ProduceError::UnknownTopic {
            topic: self.partition.topic.clone(),
        })
    }

    fn no_leader(&self) -> RequestError {
        RequestError::NoLeader {
            partition: self.partition.to_string(),
        }
    }
}
