//! The way in: one client for one cluster.

use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::net::tls::{TlsClient, TlsClientOptions, TlsError};
use thalweg_runtime::{Clock, SystemClock, TaskGroup};
use thalweg_types::TopicName;

use crate::admin::{Admin, AdminError, ScClient};
use crate::consumer::{ConsumeError, Consumer, ConsumerOptions};
use crate::data::{ConnectionOptions, Connections, Liveness, Metadata};
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
    /// How often running producers, and consumers of all partitions without an end at the log's, look
    /// for partitions that were added to their topics. Default: 30 s.
    pub metadata_max_age: Duration,
    /// How to connect to a cluster that speaks TLS. Default: without.
    pub tls: Option<TlsClientOptions>,
}

/// Why a client could not start.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// No address was given.
    #[error("no address of the cluster is given; set `cluster` or `bootstrap`")]
    NoAddress,
    /// The SC could not be asked for the SPUs.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
pub struct Client {
    core: Arc<ClientCore>,
}

/// What a client's producers, consumers and admin share.
#[derive(Debug)]
pub(crate) struct ClientCore {
    pub(crate) options: ClientOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: TaskGroup,
    pub(crate) sc: ScClient,
    /// For everything but fetches, see [`Connections`].
    pub(crate) connections: Arc<Connections>,
    pub(crate) metadata: Metadata,
    /// What its connections have in common: the cluster that it began with, too, once it has heard.
    connecting: ConnectionOptions,
}

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
            metadata_max_age: Duration::from_secs(30),
            tls: None,
        }
    }
}

impl Client {
    /// Makes a client, and finds the cluster: asks the SC for its SPUs where no `bootstrap` is
    /// given. A cluster whose SPUs have yet to start is fine.
    ///
    /// # Errors
    /// When no address is given, or the SC is needed and can't be reached.
    pub async fn connect(options: ClientOptions) -> Result<Self, ConnectError> {
        if options.cluster.is_empty() && options.bootstrap.is_empty() {
            return Err(ConnectError::NoAddress);
        }
        let sc = ScClient::new(&options)?;
        let bootstrap = if options.bootstrap.is_empty() {
            sc.online_spu_addresses().await?
        } else {
            options.bootstrap.clone()
        };
        let tasks = TaskGroup::new();
        let tls = options.tls.clone();
        let tls = tls.map(|tls| TlsClient::load(tls, None)).transpose()?;
        let connecting = ConnectionOptions::new(
            &options.client_id,
            options.connect_timeout,
            options.request_timeout,
        );
        let connecting = connecting.under_tls(tls.map(Arc::new));
        let liveness = Arc::new(Liveness::new(connecting.clone(), tasks.clone()));
        liveness.know(&bootstrap);
        let connecting = connecting
            .watched_by(Arc::clone(&liveness))
            .within(Arc::default());
        let connections = Arc::new(Connections::new(connecting.clone(), tasks.clone()));
        let metadata = Metadata::new(
            Arc::clone(&connections),
            sc.clone(),
            bootstrap,
            options.request_timeout,
            liveness,
        );
        let core = ClientCore {
            options,
            clock: SystemClock::shared(),
            tasks,
            sc,
            connections,
            metadata,
            connecting,
        };
        Ok(Self {
            core: Arc::new(core),
        })
    }

    pub(crate) fn of(core: Arc<ClientCore>) -> Self {
        Self { core }
    }

    /// The cluster's administration.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.core))
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
        Producer::open(Arc::clone(&self.core), topic.clone(), options).await
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
        Consumer::open(Arc::clone(&self.core), topic.clone(), options).await
    }
}

impl ClientCore {
    /// What connections of this client have in common, with another time that an answer may take.
    pub(crate) fn connection_options(&self, request_timeout: Duration) -> ConnectionOptions {
        let connect_timeout = self.options.connect_timeout;
        self.connecting
            .clone()
            .in_time(connect_timeout, request_timeout)
    }

    pub(crate) fn request_timeout(&self) -> Duration {
        self.options.request_timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ProducerRecord, Watch};

    fn assert_send<T: Send>(_: &T) {}

    /// Never run: that it compiles says that every call may be made from any task.
    #[expect(dead_code, reason = "only its types are looked at")]
    async fn every_call_may_move_between_threads(
        client: Client,
        topic: TopicName,
        producer: Producer,
        mut consumer: Consumer,
        mut watch: Watch,
    ) {
        assert_send(&Client::connect(ClientOptions::default()));
        assert_send(&client.producer(&topic, ProducerOptions::default()));
        assert_send(&client.consumer(&topic, ConsumerOptions::default()));
        assert_send(&client.admin().describe_cluster());
        assert_send(&client.admin().watch());
        assert_send(&watch.next());
        assert_send(&producer.send(ProducerRecord::default()));
        assert_send(&producer.flush());
        assert_send(&consumer.next_batch());
    }

    #[tokio::test]
    async fn a_client_needs_an_address_that_can_be_one() {
        let connect = |cluster: &str| Client::connect(ClientOptions::new(cluster));

        assert!(matches!(connect("").await, Err(ConnectError::NoAddress)));
        let error = connect("nowhere").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`nowhere` is no address, write HOST:PORT"
        );
        let error = connect("127.0.0.1:1").await.unwrap_err().to_string();
        assert!(
            error.contains("can't reach the SC at `127.0.0.1:1`"),
            "{error}"
        );
    }
}
