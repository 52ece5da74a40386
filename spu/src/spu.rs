//! One SPU: puts its parts together, and takes them apart in the right order.
//!
//! Start: lock the data directory, listen, serve at once from what the last run kept, or wait for
//! the SC's first word where there is nothing yet. Stop: let others lead what this SPU leads, accept
//! nothing new, finish what is in flight, then close the logs, so that the next start need not recover
//! them.

mod starting;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::net::TcpListener;
use thalweg_runtime::net::tls::{HTTP_2, TlsClient, TlsClientOptions, TlsError};
use thalweg_runtime::{Clock, TaskFailed, TaskGroup};
use thalweg_smartengine::{EngineError, EngineOptions, GuestDriver, SmartEngine};
use thalweg_storage::{DataDir, DataDirError, LogFiles, StdFiles, StorageThreads, ThreadOptions};
use thalweg_types::{Incarnation, SpuId};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::admin::AdminForward;
use crate::advertised::AdvertiseError;
use crate::cluster_file::{self, ClusterFileError};
use crate::cluster_view::ClusterView;
use crate::context::SpuContext;
use crate::control::{ControlClient, Handover, Identity};
use crate::data::DataServer;
use crate::groups::GroupCoordinator;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::modules::RegisteredModules;
use crate::mounted_file::MountedFileError;
use crate::options::SpuOptions;
use crate::producer_ids::{ProducerIds, ProducerIdsError};
use crate::replica::{AssignedBy, LogStore, ReplicaOwner, ReplicaSet};
use crate::{compaction, groups, incarnation, replication, transforms, upkeep};

/// How long the start waits for logs to open. What takes longer, because it has to be recovered,
/// opens behind the serving.
const OPEN_WAIT: Duration = Duration::from_millis(200);
/// How long a shutdown waits for requests in flight.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// Why an SPU can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory can't be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// What the last run kept can't be used.
    #[error(transparent)]
    ClusterFile(#[from] ClusterFileError),
    /// The producer ids that the last run kept can't be used.
    #[error(transparent)]
    ProducerIds(#[from] ProducerIdsError),
    /// Nobody can connect.
    #[error("failed to listen on `{address}`: choose another address with `{flag}`")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the address is given by.
        flag: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// Its number is too large.
    #[error("`--id {id}` and `--id-base {base}` make no number together: choose smaller ones")]
    Id {
        /// The number.
        id: SpuId,
        /// What is added to it.
        base: SpuId,
    },
    /// Clients can't be told where to connect.
    #[error(transparent)]
    Advertise(#[from] AdvertiseError),
    /// Where it stands can't be told.
    #[error(transparent)]
    Rack(#[from] MountedFileError),
    /// Its certificates can't be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The SC's address is none.
    #[error("`--sc {sc}` is no address, write HOST:PORT")]
    ScAddress {
        /// The address as given.
        sc: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// The host of SmartModules can't start.
    #[error("failed to start the SmartModule engine")]
    Engine(#[from] EngineError),
    /// The operating system refused something.
    #[error("failed to {action}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A part stopped while the others waited for the SC.
    #[error("{0}")]
    Stopped(TaskFailed),
}

/// What logs are written with, and who runs SmartModules.
pub struct Machine {
    /// How files are opened.
    pub files: Arc<dyn LogFiles>,
    /// Who writes and syncs.
    pub threads: Arc<StorageThreads>,
    /// Who runs SmartModules, where that is not threads of the SPU's own.
    pub guests: Option<Arc<dyn GuestDriver>>,
}

/// One running SPU.
pub struct Spu {
    id: SpuId,
    incarnation: Incarnation,
    /// Whether the life before this one ended in good order.
    last_ended_well: bool,
    /// Becomes true once an SC has told this process what there is.
    told: watch::Sender<bool>,
    data_dir: Arc<DataDir>,
    data_address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    context: SpuContext,
    handover: Arc<Handover>,
    health: Arc<Health>,
    serving: TaskGroup,
    background: TaskGroup,
    settling: TaskGroup,
}

impl Spu {
    /// Starts an SPU on the real file system, and returns once it serves.
    ///
    /// # Errors
    /// When something that it needs can't be had; the message says what and what to do.
    pub async fn start(options: SpuOptions, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        Self::start_with(options, clock, Arc::new(StdFiles)).await
    }

    /// As [`Self::start`], with files of the caller's choice for the logs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with(
        options: SpuOptions,
        clock: Arc<dyn Clock>,
        files: Arc<dyn LogFiles>,
    ) -> Result<Self, StartError> {
        let threads = StorageThreads::start(ThreadOptions::default());
        let threads = threads.map_err(|source| StartError::System {
            action: "start the threads that write to the disk",
            source,
        })?;
        let machine = Machine {
            files,
            threads,
            guests: None,
        };
        Self::start_on(options, clock, machine).await
    }

    /// As [`Self::start`], on a machine of the caller's choice.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_on(
        mut options: SpuOptions,
        clock: Arc<dyn Clock>,
        machine: Machine,
    ) -> Result<Self, StartError> {
        let spu_id = options.spu_id().ok_or(StartError::Id {
            id: options.id,
            base: options.id_base,
        })?;
        // For who shows the settings.
        (options.id, options.id_base) = (spu_id, SpuId(0));

        let data_dir = Arc::new(starting::open_data_dir(&options.data_dir, spu_id).await?);
        let last_view = cluster_file::load(data_dir.path())?
            .filter(|view| view.cluster_id == data_dir.cluster_id());
        let (listener, data_address) = starting::listen(options.listen, "--listen").await?;
        let (serving, background, settling) =
            (TaskGroup::new(), TaskGroup::new(), TaskGroup::new());
        let (health, metrics) = (Arc::new(Health::default()), Arc::new(Metrics::new()));
        let metrics_address = starting::watched(&options, &metrics, &health, &background).await?;
        let advertised =
            starting::find_place(&mut options, data_address, &health, &background).await?;
        let identity = starting::identity(&options, &data_dir, &*clock, advertised)?;

        let has_state = last_view.is_some();
        let view = Arc::new(ClusterView::new(last_view.unwrap_or_default()));
        let tls = options.tls.server(None)?.map(Arc::new);
        let peers = options.tls.client();
        let admin = admin(&options)?;
        let replicas = ReplicaSet::new(
            ReplicaOwner {
                spu_id,
                incarnation: identity.life.incarnation,
                replica_lag_max: options.replica_lag_max,
            },
            LogStore {
                data_dir: Arc::clone(&data_dir),
                threads: machine.threads,
                files: machine.files,
            },
            Arc::clone(&view),
            Arc::clone(&clock),
            settling.clone(),
        );
        let context = SpuContext {
            spu_id,
            groups: GroupCoordinator::new(groups::Parts {
                replicas: Arc::clone(&replicas),
                view: Arc::clone(&view),
                admin: Arc::clone(&admin),
                clock: Arc::clone(&clock),
                options: options.groups.clone(),
                tasks: background.clone(),
            }),
            replicas,
            modules: Arc::new(RegisteredModules::new(
                Arc::clone(&view),
                Arc::clone(&admin),
                smartmodules_path(&data_dir),
                peers.clone(),
            )),
            view,
            producer_ids: Arc::new(ProducerIds::open(data_dir.path(), Arc::clone(&admin))?),
            admin,
            reports: Arc::default(),
            engine: engine(&options, &data_dir, machine.guests)?,
            metrics,
            tls,
            peers_tls: connecting(peers, None)?,
            clock,
            options: Arc::new(options),
        };
        let spu = Self {
            id: spu_id,
            incarnation: identity.life.incarnation,
            last_ended_well: identity.life.last_ended_well,
            told: watch::Sender::new(false),
            data_dir: Arc::clone(&data_dir),
            data_address,
            metrics_address,
            context,
            handover: Arc::default(),
            health,
            serving,
            background,
            settling,
        };

        spu.serve(listener, identity, has_state).await?;
        info!(spu = %spu_id, address = %data_address, "serving");
        Ok(spu)
    }

    /// Opens what is assigned to this SPU and serves, once it is known what that is.
    async fn serve(
        &self,
        listener: TcpListener,
        identity: Identity,
        has_state: bool,
    ) -> Result<(), StartError> {
        let context = &self.context;
        let replicas = &context.replicas;
        let last_run = AssignedBy::LastRun {
            ended_well: self.last_ended_well,
        };
        replicas.apply(&context.view.current(), last_run).await;
        let told = self.start_background(identity, &self.data_dir);
        if !has_state {
            self.wait_for_the_sc(told).await?;
        }
        let opened = tokio::time::timeout(OPEN_WAIT, replicas.settled()).await;
        if opened.is_err() {
            info!("some partitions are still being opened");
        }
        DataServer::serve(listener, self.data_address, context.clone(), &self.serving);
        let view = Arc::clone(&context.view);
        self.health.serves(self.id, view, Arc::clone(replicas));
        Ok(())
    }

    /// Starts what works beside the serving. What it returns becomes true with the SC's first
    /// word.
    fn start_background(
        &self,
        identity: Identity,
        data_dir: &Arc<DataDir>,
    ) -> watch::Receiver<bool> {
        let first_word = self.told.subscribe();
        let context = &self.context;
        let control = ControlClient {
            identity,
            admin: Arc::clone(&context.admin),
            data_dir: Arc::clone(data_dir),
            view: Arc::clone(&context.view),
            replicas: Arc::clone(&context.replicas),
            producer_ids: Arc::clone(&context.producer_ids),
            runner_reports: Arc::clone(&context.reports),
            handover: Arc::clone(&self.handover),
            told: self.told.clone(),
        };
        self.background
            .spawn("control", |shutdown| control.run(shutdown));
        let view = Arc::clone(&context.view);
        let path = data_dir.path().to_owned();
        self.background
            .spawn("cluster-file", |shutdown| async move {
                cluster_file::keep(path, view, shutdown).await;
                Ok::<_, Infallible>(())
            });
        upkeep::spawn(
            &context.replicas,
            &context.clock,
            &context.options,
            &self.background,
        );
        compaction::spawn(
            &context.replicas,
            &context.clock,
            &context.options,
            &self.background,
        );
        replication::spawn(context, self.incarnation, &self.background);
        transforms::spawn(context, &self.background);
        let groups = Arc::clone(&context.groups);
        self.background.spawn("group-coordinator", |shutdown| {
            groups.follow_leadership(shutdown)
        });
        first_word
    }

    async fn wait_for_the_sc(&self, mut told: watch::Receiver<bool>) -> Result<(), StartError> {
        let sc = &self.context.options.sc;
        info!(
            sc,
            "nothing is known of the cluster yet, waiting for the SC"
        );
        self.health.waits_for(format!(
            "nothing is known of the cluster yet, waiting for the SC at `{sc}`"
        ));
        tokio::select! {
            // An error would mean that the control task is gone, and that is seen beside it.
            Ok(_) = told.wait_for(|told| *told) => Ok(()),
            failed = self.background.failed() => Err(StartError::Stopped(failed)),
        }
    }

    /// Where it serves the data protocol.
    #[must_use]
    pub fn data_address(&self) -> SocketAddr {
        self.data_address
    }

    /// Where it serves its metrics, if it does.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Its parts.
    #[must_use]
    pub fn context(&self) -> &SpuContext {
        &self.context
    }

    /// What programs that start an SPU read: one line of JSON that says where it serves.
    #[must_use]
    pub fn ready_line(&self) -> String {
        serde_json::json!({
            "id": self.id.0,
            "data": self.data_address.to_string(),
            "metrics": self.metrics_address.map(|address| address.to_string()),
            "pid": std::process::id(),
        })
        .to_string()
    }

    /// Waits until a part that the SPU can't do without has failed. Cancel-safe.
    pub async fn failed(&self) -> TaskFailed {
        tokio::select! {
            failed = self.serving.failed() => failed,
            failed = self.background.failed() => failed,
        }
    }

    /// Stops: lets others lead, accepts nothing new, finishes what is in flight, closes the logs.
    pub async fn stop(self) {
        info!("shutting down");
        self.health.stops();
        let context = &self.context;
        self.handover
            .run(&context.view, self.id, context.options.handover_timeout)
            .await;
        if tokio::time::timeout(STOP_WAIT, self.serving.stop())
            .await
            .is_err()
        {
            warn!("some connections did not end in time");
        }
        self.background.stop().await;
        self.context.replicas.close().await;
        self.settling.stop().await;
        info!("every log is closed");
        if !self.last_ended_well && !*self.told.borrow() {
            // The SC has yet to hear that a life before this one may have lost something.
            return;
        }
        if let Err(error) = incarnation::end_well(self.data_dir.path(), self.incarnation) {
            warn!(%error, "failed to note the end of this process, the next will be taken for one after a crash");
        }
    }
}

fn admin(options: &SpuOptions) -> Result<Arc<AdminForward>, StartError> {
    let tls = connecting(options.tls.client(), Some(HTTP_2))?;
    AdminForward::new(&options.sc, tls, options.id)
        .map(Arc::new)
        .map_err(|source| StartError::ScAddress {
            sc: options.sc.clone(),
            source,
        })
}

fn connecting(
    options: Option<TlsClientOptions>,
    protocol: Option<&'static [u8]>,
) -> Result<Option<Arc<TlsClient>>, TlsError> {
    let loaded = options.map(|options| TlsClient::load(options, protocol));
    Ok(loaded.transpose()?.map(Arc::new))
}

/// Where SmartModules are kept, as they came and compiled. The engine makes the folder.
fn smartmodules_path(data_dir: &DataDir) -> PathBuf {
    data_dir.path().join("smartmodules")
}

fn engine(
    options: &SpuOptions,
    data_dir: &DataDir,
    guests: Option<Arc<dyn GuestDriver>>,
) -> Result<SmartEngine, EngineError> {
    let options = engine_options(options, data_dir);
    match guests {
        Some(driver) => SmartEngine::driven(options, driver),
        None => SmartEngine::new(options),
    }
}

fn engine_options(options: &SpuOptions, data_dir: &DataDir) -> EngineOptions {
    let guest_threads = match options.guest_threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        given => given,
    };
    EngineOptions {
        cache_dir: Some(smartmodules_path(data_dir)),
        guest_threads,
        limits: options.call_limits(),
        shared_memory_bytes: options.smartmodule_shared_memory_bytes,
        module_bytes_max: usize::try_from(options.smartmodule_bytes_max).unwrap_or(usize::MAX),
    }
}
