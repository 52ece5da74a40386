//! One operator: takes its turn, watches, and looks at each namespace in which something has changed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::events::{Recorder, Reporter};
use thalweg_k8s_store::{Candidate, ElectionOptions};
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken, Clock, TaskFailed, TaskGroup};
use tokio::net::TcpListener;
use tracing::{info, instrument, warn};

use crate::applying::{Applier, ApplyError, with_causes};
use crate::names::MANAGER;
use crate::options::OperatorOptions;
use crate::plan::Plan;
use crate::queue::Queue;
use crate::reading;
use crate::scope::Scope;
use crate::server::{Health, serve};
use crate::watching::Watching;

/// How soon a namespace is looked at again where something failed, and how long at most.
const RETRIES: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(200),
    max: Duration::from_secs(60),
};

/// How long one look at a namespace may take: an API server that does not answer must not hold the others up.
const RECONCILED_WITHIN: Duration = Duration::from_secs(60);

/// How long a holder of the Lease that is not heard of keeps the others waiting. Two operators at once would
/// do no harm: what they apply is the same, and what takes something away names the very object.
const LEASE_DURATION: Duration = Duration::from_secs(15);

/// Why an operator works no longer. It ends, and is started again by kubelet.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the Lease {MANAGER} was lost, another operator works")]
pub(crate) struct LeaseLost;

/// Why an operator could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No API server is known.
    #[error(
        "failed to find out where the API server is; in a pod its service account says so, elsewhere give --kubeconfig"
    )]
    Config(#[source] kube::config::InferConfigError),
    /// The file that was given does not say it.
    #[error("failed to read `{}`, which --kubeconfig names", .path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: KubeconfigError,
    },
    /// The client can't be made.
    #[error("failed to make a client of the API server")]
    Client(#[source] kube::Error),
    /// The port of probes is taken.
    #[error("failed to listen on {address}; choose another with --listen")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// A running operator.
#[derive(Debug)]
pub struct Operator {
    tasks: TaskGroup,
    address: SocketAddr,
}

impl Operator {
    /// Starts one. It answers probes at once and works once the Lease is its own.
    ///
    /// # Errors
    /// When it is not known where the API server is, or the port is taken.
    pub async fn start(
        options: OperatorOptions,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let config = config(&options).await?;
        let own_namespace = config.default_namespace.clone();
        let client = Client::try_from(config).map_err(StartError::Client)?;
        let refused = |source| StartError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;

        let tasks = TaskGroup::new();
        let health = Arc::new(Health::default());
        let served = health.clone();
        tasks.spawn("probes", |shutdown| serve(listener, served, shutdown));
        let work = Work {
            client,
            own_namespace,
            options,
            clock,
            health,
        };
        let group = tasks.clone();
        tasks.spawn("operator", |shutdown| work.run(group, shutdown));
        Ok(Self { tasks, address })
    }

    /// What is printed once probes are answered.
    #[must_use]
    pub fn ready_line(&self) -> String {
        serde_json::json!({"health": self.address.to_string()}).to_string()
    }

    /// Waits until something fails that ends the operator. Cancel-safe.
    pub async fn failed(&self) -> TaskFailed {
        self.tasks.failed().await
    }

    /// Stops, and gives the Lease up.
    pub async fn stop(&self) {
        self.tasks.stop().await;
    }
}

async fn config(options: &OperatorOptions) -> Result<kube::Config, StartError> {
    let Some(path) = &options.kubeconfig else {
        return kube::Config::infer().await.map_err(StartError::Config);
    };
    let refused = |source| StartError::Kubeconfig {
        path: path.clone(),
        source,
    };
    let file = Kubeconfig::read_from(path).map_err(refused)?;
    kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .map_err(refused)
}

struct Work {
    client: Client,
    own_namespace: String,
    options: OperatorOptions,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
}

impl Work {
    async fn run(self, tasks: TaskGroup, shutdown: CancellationToken) -> Result<(), LeaseLost> {
        let namespace = self.options.lease_namespace.as_ref();
        let election = ElectionOptions {
            name: MANAGER,
            namespace: namespace.unwrap_or(&self.own_namespace).clone(),
            identity: self.options.identity.clone(),
            address: String::new(),
            duration: LEASE_DURATION,
        };
        let candidate = Candidate::new(self.client.clone(), election, self.clock.clone());
        // One that waits for its turn is as ready as it gets: a new one must not wait for the old one's end.
        self.health.is_ready.store(true, Ordering::Release);
        let reign = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            reign = candidate.elected() => reign,
        };
        tasks.spawn("lease", |shutdown| async move {
            candidate.hold(&reign, &shutdown).await;
            if shutdown.is_cancelled() {
                Ok(())
            } else {
                Err(LeaseLost)
            }
        });
        let queue = Arc::new(Queue::new(self.clock.clone()));
        let scope = Scope(self.options.namespace.clone());
        let watching = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            watching = Watching::start(
                &self.client,
                &scope,
                self.options.namespaced_only,
                &queue,
                &tasks,
            ) => watching,
        };
        info!("everything is listed");
        self.reconcile_all(&watching, &queue, &shutdown).await;
        Ok(())
    }

    async fn reconcile_all(
        &self,
        watching: &Watching,
        queue: &Queue,
        shutdown: &CancellationToken,
    ) {
        let reporter = Reporter {
            controller: MANAGER.to_owned(),
            instance: Some(self.options.identity.clone()),
        };
        let recorder = Recorder::new(self.client.clone(), reporter);
        let mut retries: BTreeMap<String, Backoff> = BTreeMap::new();
        loop {
            let namespace = tokio::select! {
                () = shutdown.cancelled() => return,
                namespace = queue.next() => namespace,
            };
            let begun = self.clock.monotonic();
            let reconciling = self.reconcile(watching, &recorder, &namespace);
            let outcome = tokio::select! {
                // What a plan says is said again by the next operator: nothing is lost in the middle.
                () = shutdown.cancelled() => return,
                outcome = tokio::time::timeout(RECONCILED_WITHIN, reconciling) => outcome,
            };
            let outcome = outcome.unwrap_or(Err(ApplyError::TimedOut(RECONCILED_WITHIN)));
            let took = self.clock.monotonic() - begun;
            self.health.metrics.reconciled(took, outcome.is_ok());
            match outcome {
                Ok(look_again) => {
                    retries.remove(&namespace);
                    if let Some(delay) = look_again {
                        queue.add(&namespace, delay);
                    }
                }
                Err(error) => {
                    let backoff = retries
                        .entry(namespace.clone())
                        .or_insert_with(|| Backoff::new(RETRIES));
                    let delay = backoff.next_delay();
                    let error = with_causes(&error);
                    warn!(namespace, error, ?delay, "it is tried again");
                    queue.add(&namespace, delay);
                }
            }
        }
    }

    #[instrument(skip_all, fields(namespace))]
    async fn reconcile(
        &self,
        watching: &Watching,
        recorder: &Recorder,
        namespace: &str,
    ) -> Result<Option<Duration>, ApplyError> {
        let mut observed = reading::from_memory(watching, namespace, &self.options.image);
        let unread = |source| ApplyError::Request {
            what: format!("read namespace {namespace}"),
            source,
        };
        if observed.is_anything_going() {
            observed.is_terminating = reading::is_terminating(&self.client, namespace)
                .await
                .map_err(unread)?;
        }
        let mut plan = Plan::compute(&observed, self.clock.now_ms());
        if plan.is_careful(&observed) {
            observed = reading::from_the_api_server(&self.client, &observed)
                .await
                .map_err(unread)?;
            plan = Plan::compute(&observed, self.clock.now_ms());
        }
        let look_again = plan.look_again;
        let applier = Applier {
            client: &self.client,
            recorder,
            observed: &observed,
        };
        applier.carry_out(plan).await?;
        Ok(look_again)
    }
}
