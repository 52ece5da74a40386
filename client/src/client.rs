//! The way in: one client for one cluster.

use std::time::Duration;

use thalweg_types::TopicName;

use crate::admin::{Admin, AdminError};
use crate::consumer::{ConsumeError, Consumer, ConsumerOptions};
use crate::data::RequestError;
use crate::producer::{ProduceError, Producer, ProducerOptions};

/// Where the cluster is.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// `HOST:PORT` of the SC. May be empty where `bootstrap` is given: then there is no admin.
    pub cluster: String,
    /// `HOST:PORT` of the data ports of some SPUs; asked of the SC when empty. With these given,
    /// producing and consuming need no SC.
    pub bootstrap: Vec<String>,
    /// What the cluster's logs call this client. Default: `thalweg`.
    pub client_id: String,
    /// How long to wait for a connection. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long to wait for the answer to a request, where nothing else is said. Default: 30 s.
    pub request_timeout: Duration,
}

/// Why a client could not start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no address of the cluster is given; set `cluster` or `bootstrap`")]
    NoAddress,
    /// The cluster has no SPU that is up.
    #[error("the cluster at `{cluster}` has no SPU online; see `thalweg spu list`")]
    NoSpuOnline {
        /// The SC's address.
        cluster: String,
    },
    /// The SC could not be asked for the SPUs.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// No SPU could be reached.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// One client of one cluster. Cheap to clone.
///
/// ```no_run
/// use thalweg_client::{Client, ClientOptions, ProducerOptions, ProducerRecord};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::connect(ClientOptions::new("127.0.0.1:9003")).await?;
/// let producer = client.producer(&"flights".parse()?, ProducerOptions::default()).await?;
/// let delivery = producer.send(ProducerRecord::new(b"hello")).await?.await?;
/// println!("stored at {:?}", delivery.offset);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Client {}

impl ClientOptions {
    /// A cluster by the address of its SC.
    pub fn new(cluster: impl Into<String>) -> Self {
        Self {
            cluster: cluster.into(),
            ..Self::default()
        }
    }
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            cluster: String::new(),
            bootstrap: Vec::new(),
            client_id: "thalweg".to_owned(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(30),
        }
    }
}

impl Client {
    /// Makes a client. Nothing is asked of the cluster yet: connections are made when they are
    /// needed, so that a client can start before the cluster.
    ///
    /// # Errors
    /// When no address is given.
    #[expect(
        clippy::unused_async,
        reason = "the first connections will be made here"
    )]
    pub async fn connect(options: ClientOptions) -> Result<Self, ConnectError> {
        if options.cluster.is_empty() && options.bootstrap.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        Ok(Self {})
    }

    /// The cluster's administration.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin {}
    }

    /// A producer for one topic.
    ///
    /// # Errors
    /// When the topic does not exist or the cluster can't be asked.
    pub async fn producer(
        &self,
        topic: &TopicName,
        options: ProducerOptions,
    ) -> Result<Producer, ProduceError> {
        let _ = (topic, options);
        Ok(Producer {})
    }

    /// A consumer of one topic.
    ///
    /// # Errors
    /// When the topic or a partition does not exist or the cluster can't be asked.
    pub async fn consumer(
        &self,
        topic: &TopicName,
        options: ConsumerOptions,
    ) -> Result<Consumer, ConsumeError> {
        let _ = (topic, options);
        Ok(Consumer {})
    }
}
