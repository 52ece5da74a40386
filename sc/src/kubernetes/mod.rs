//! An SC that is one of several on Kubernetes. It stands by, and passes connections on to the one that
//! leads, until it is elected; it leads until its Lease is lost, and then stands by again.

mod forwarder;
mod health;
mod module_sources;
mod oci;

use std::convert::Infallible;
use std::error::Error;
use std::io;
use std::sync::Arc;

use thalweg_k8s_store::{Candidate, ElectionOptions, KubernetesStore, LEASE_NAME, Reign, connect};
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken, Clock, TaskGroup};
use tokio::sync::Notify;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::forwarder::Forwarder;
use self::health::{Health, Role};
use crate::{Sc, ScOptions};

/// Serves until `told_to_stop`. `ready` is told once, when clients can connect, whoever leads.
///
/// # Errors
/// When the settings can't be used, or an address is taken.
pub async fn serve_on_kubernetes(
    options: &ScOptions,
    clock: Arc<dyn Clock>,
    ready: impl FnOnce(String) -> io::Result<()>,
    told_to_stop: impl Future<Output = ()>,
) -> Result<(), Box<dyn Error>> {
    options.check()?;
    let settings = &options.kubernetes;
    let namespace = settings.kubernetes_namespace.clone().unwrap_or_default();
    let client = connect().await?;
    let mut options = options.clone();
    let tasks = TaskGroup::new();
    let forwarder = Forwarder::bind(&options).await?;
    // Port 0 takes a free one, once.
    options.listen = forwarder.address();
    let address = options.listen.to_string();
    let election = ElectionOptions {
        name: LEASE_NAME,
        namespace: namespace.clone(),
        // A process that was restarted is another one: it has forgotten what it was about to write.
        identity: format!("{}_{}", settings.identity, Uuid::new_v4()),
        address: settings
            .advertise
            .clone()
            .unwrap_or_else(|| address.clone()),
        duration: settings.lease_duration,
    };
    let candidate = Arc::new(Candidate::new(client.clone(), election, Arc::clone(&clock)));
    let health = Arc::new(Health::new(candidate.leader()));
    if let Some(listen) = settings.health_listen {
        health::serve(listen, Arc::clone(&health), &tasks).await?;
    }
    ready(serde_json::json!({ "admin": address, "pid": std::process::id() }).to_string())?;
    let sc = OneOfSeveral {
        options,
        namespace,
        client,
        candidate,
        clock,
        health,
    };
    let outcome = tokio::select! {
        outcome = sc.run(forwarder, tasks.shutdown()) => outcome,
        () = async {
            told_to_stop.await;
            tasks.shutdown().cancel();
            std::future::pending().await
        } => Ok(()),
    };
    tasks.stop().await;
    outcome
}

struct OneOfSeveral {
    options: ScOptions,
    namespace: String,
    client: thalweg_k8s_store::Client,
    candidate: Arc<Candidate>,
    clock: Arc<dyn Clock>,
    health: Arc<Health>,
}

impl OneOfSeveral {
    /// Stands by and leads by turns.
    async fn run(
        &self,
        forwarder: Forwarder,
        shutdown: CancellationToken,
    ) -> Result<(), Box<dyn Error>> {
        let mut next = Some(forwarder);
        let mut backoff = Backoff::new(BackoffOptions::default());
        while !shutdown.is_cancelled() {
            let forwarder = match next.take() {
                Some(first) => first,
                None => Forwarder::bind(&self.options).await?,
            };
            self.health.set(Role::StandsBy);
            let forwarding = forwarder.start(self.candidate.leader());
            let elected = tokio::select! {
                reign = self.candidate.elected() => Some(reign),
                () = shutdown.cancelled() => None,
            };
            forwarding.stop().await;
            let Some(reign) = elected else { break };
            match self.lead(reign, &shutdown).await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    error!(%error, "failed to lead, standing by");
                    backoff.wait(&shutdown).await;
                }
            }
        }
        Ok(())
    }

    /// Leads for as long as the Lease is held.
    async fn lead(
        &self,
        reign: Arc<Reign>,
        shutdown: &CancellationToken,
    ) -> Result<(), Box<dyn Error>> {
        let holding = TaskGroup::new();
        let lost = Arc::new(Notify::new());
        {
            let (candidate, reign, lost) = (
                Arc::clone(&self.candidate),
                Arc::clone(&reign),
                Arc::clone(&lost),
            );
            holding.spawn("lease", |told| async move {
                candidate.hold(&reign, &told).await;
                lost.notify_one();
                Ok::<_, Infallible>(())
            });
        }
        let outcome = self.serve(reign, &lost, shutdown).await;
        // Only now: until here this process could have written.
        holding.stop().await;
        outcome
    }

    async fn serve(
        &self,
        reign: Arc<Reign>,
        lost: &Notify,
        shutdown: &CancellationToken,
    ) -> Result<(), Box<dyn Error>> {
        let clock = Arc::clone(&self.clock);
        let client = self.client.clone();
        let store = KubernetesStore::open(client, &self.namespace, clock, Some(reign)).await?;
        let clock = Arc::clone(&self.clock);
        let sc = Sc::start_on(&self.options, clock, Arc::new(store.clone())).await?;
        self.health.set(Role::Leads { epoch: sc.epoch() });
        let sources = TaskGroup::new();
        let credentials = self.options.kubernetes.registry_credentials.clone();
        let address = sc.admin_address();
        let tls = self.options.tls.client();
        module_sources::spawn(store.clone(), address, tls, credentials, &sources).await?;
        let outcome = tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = lost.notified() => {
                warn!("standing by");
                Ok(())
            }
            failed = sc.failed() => Err(failed.into()),
        };
        self.health.set(Role::StandsBy);
        sources.stop().await;
        sc.stop().await;
        store.close().await;
        info!("no longer leads");
        outcome
    }
}
