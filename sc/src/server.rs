//! Starts and stops the SC.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use thalweg_metadata::{Counter, MetadataStore, OpenError, SledOptions, SledStore, StoreError};
use thalweg_proto::v1::admin_server::AdminServer;
use thalweg_proto::v1::control_server::ControlServer;
use thalweg_runtime::net::TcpListener;
use thalweg_runtime::net::tls::{HTTP_2, TlsError};
use thalweg_runtime::{Clock, TaskFailed, TaskGroup};
use thalweg_smartmodule_inspect::MODULE_BYTES_MAX;
use thalweg_types::{ClusterId, ControllerEpoch};
use tonic::transport::Server;
use tracing::info;
use uuid::Uuid;

use crate::ScOptions;
use crate::api::AdminService;
use crate::connections::{self, Connection};
use crate::control::{
    ControlService, Members, MembersOptions, OffsetsTopicOptions, spawn_failure_detector,
};
use crate::modules::{ModuleRegistry, spawn_remover};
use crate::options::InvalidOptions;
use crate::state::{Controller, spawn_leader_balancer, spawn_reconciler};

/// How often a silent connection is asked whether it lives, and how long it has to answer.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long clients may take to hang up when the SC stops.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The largest message of an SPU: what it says of some 100,000 replicas at once.
const SPU_MESSAGE_BYTES_MAX: usize = 16 << 20;

/// The largest message of a client: a SmartModule, and a little more so that one that is too large
/// is refused in words.
const CLIENT_MESSAGE_BYTES_MAX: usize = MODULE_BYTES_MAX + (1 << 20);

/// How many requests and watches one connection may have open.
const STREAMS_PER_CONNECTION_MAX: u32 = 256;

/// A running SC. Dropping it leaves its tasks running; call [`Sc::stop`].
#[derive(Debug)]
pub struct Sc {
    admin_address: SocketAddr,
    cluster_id: ClusterId,
    epoch: ControllerEpoch,
    tasks: TaskGroup,
    /// Of the SPUs, apart from the others: one that fails ends that SPU's stream only.
    sessions: TaskGroup,
}

/// Why the SC could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Settings contradict each other.
    #[error(transparent)]
    Options(#[from] InvalidOptions),
    /// Its data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its reign could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Its certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Nobody could connect.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address as given.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl Sc {
    /// Opens the data directory, begins a new reign, and serves. Returns once clients and SPUs can
    /// connect.
    ///
    /// # Errors
    /// When the data directory can't be used, or the address is taken.
    pub async fn start(options: &ScOptions, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        options.check()?;
        let data_dir = options.data_dir.as_ref();
        let data_dir = data_dir.ok_or(InvalidOptions::NoDataDir)?;
        let store = SledStore::open(data_dir, SledOptions::default()).await?;
        Self::start_on(options, clock, Arc::new(store)).await
    }

    /// As [`Self::start`], with a store of the caller's choice in the place of the data directory.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(
        options: &ScOptions,
        clock: Arc<dyn Clock>,
        store: Arc<dyn MetadataStore>,
    ) -> Result<Self, StartError> {
        options.check()?;
        let cluster_id = store.cluster_id();
        let tls = options.tls.server(Some(HTTP_2))?.map(Arc::new);
        let listening = |source| StartError::Listen {
            address: options.listen,
            source,
        };
        // Before the reign begins, so that an SC that can't serve fences nobody.
        let listener = TcpListener::bind(options.listen).await.map_err(listening)?;
        let admin_address = listener.local_addr().map_err(listening)?;
        let epoch = ControllerEpoch(store.take(Counter::ControllerEpoch, 1).await?);

        let tasks = TaskGroup::new();
        let controller = Arc::new(Controller::new(store, epoch, Arc::clone(&clock)));
        // New in each reign, so that an SC that was replaced can't write to internal topics.
        let internal_client_id = format!("__sc-{}", Uuid::new_v4());
        let registry = Arc::new(ModuleRegistry::new(
            Arc::clone(&controller),
            Arc::clone(&clock),
            internal_client_id.clone(),
            options.tls.client(),
        ));
        let members = MembersOptions {
            heartbeat_interval: options.heartbeat_interval,
            spu_timeout: options.spu_timeout,
            internal_client_id,
        };
        let members = Arc::new(Members::new(Arc::clone(&controller), clock, members).await?);
        spawn_reconciler(Arc::clone(&controller), &tasks).await?;
        if let Some(pause) = options.leader_balance_interval() {
            spawn_leader_balancer(Arc::clone(&controller), pause, &tasks);
        }
        spawn_failure_detector(Arc::clone(&members), &tasks);
        spawn_remover(Arc::clone(&registry), &tasks).await?;
        let sessions = tasks.child();
        let reports = Arc::clone(members.runner_reports());
        let admin = AdminService::new(controller, registry, reports, tasks.shutdown());
        let offsets_topic = OffsetsTopicOptions {
            partitions: options.offsets_topic_partitions,
            replication_max: options.offsets_topic_replication.into(),
        };
        let control = ControlService::new(members, offsets_topic, sessions.clone());
        let connections = connections::incoming(listener, tls, options.connections_max);
        spawn_server(connections, admin, control, &tasks);
        info!(%cluster_id, %epoch, %admin_address, "serving");
        Ok(Self {
            admin_address,
            cluster_id,
            epoch,
            tasks,
            sessions,
        })
    }

    /// Where clients and SPUs connect.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The cluster that it controls.
    #[must_use]
    pub fn cluster_id(&self) -> ClusterId {
        self.cluster_id
    }

    /// The number of its reign.
    #[must_use]
    pub fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// The line that tells whoever started it where it serves.
    #[must_use]
    pub fn ready_line(&self) -> String {
        let admin = self.admin_address.to_string();
        serde_json::json!({ "admin": admin, "pid": std::process::id() }).to_string()
    }

    /// Waits until a part of it fails, after which it should be stopped. Cancel-safe.
    pub async fn failed(&self) -> TaskFailed {
        self.tasks.failed().await
    }

    /// Ends every conversation, finishes what is being written, and closes the data directory.
    pub async fn stop(self) {
        self.tasks.stop().await;
        self.sessions.stop().await;
        info!("stopped");
    }
}

fn spawn_server(
    connections: impl Stream<Item = io::Result<Connection>> + Send + 'static,
    admin: AdminService,
    control: ControlService,
    tasks: &TaskGroup,
) {
    tasks.spawn("grpc-server", |shutdown| async move {
        let serving = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .add_service(
                AdminServer::new(admin).max_decoding_message_size(CLIENT_MESSAGE_BYTES_MAX),
            )
            .add_service(
                ControlServer::new(control).max_decoding_message_size(SPU_MESSAGE_BYTES_MAX),
            )
            .serve_with_incoming_shutdown(connections, shutdown.clone().cancelled_owned());
        let patience = async {
            shutdown.cancelled().await;
            tokio::time::sleep(CLOSE_WAIT_MAX).await;
        };
        tokio::select! {
            served = serving => served,
            // Requests are done by then. What is left are clients that don't hang up.
            () = patience => Ok(()),
        }
    });
}
