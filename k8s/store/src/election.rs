//! Which of several processes is active: the holder of a Lease (coordination.k8s.io), by the rules of Kubernetes'
//! own leader election. SCs and operators take part, each in one of their own.
//!
//! The holder renews the Lease three times in its duration. Everyone judges by an own monotonic clock: the
//! holder by when it sent the last renewal that was answered, others by when they first saw it; so the holder
//! knows that its Lease has lapsed before anyone takes it.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use thalweg_runtime::{CancellationToken, Clock};
use tokio::sync::watch;
use tracing::{debug, info, warn};

use crate::requests::RequestError;

/// The name of the SCs' Lease.
pub const LEASE_NAME: &str = "thalweg-sc";

/// Where the holder can be reached.
const ADDRESS_ANNOTATION: &str = "thalweg.dev/address";

/// How a process takes part.
#[derive(Debug, Clone)]
pub struct ElectionOptions {
    /// The Lease's name, and what its holder is called among the managers of fields.
    pub name: &'static str,
    /// The Lease's namespace.
    pub namespace: String,
    /// Who this is: unique among the SCs, another one in each life.
    pub identity: String,
    /// `host:port` where the others reach this one; empty where they need not.
    pub address: String,
    /// How long the Lease lasts, in whole seconds.
    pub duration: Duration,
}

/// Who leads, as it was last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leader {
    /// Who it is.
    pub identity: String,
    /// `host:port` of it.
    pub address: String,
}

/// One that takes part in an election.
#[derive(Debug)]
pub struct Candidate {
    api: Api<Lease>,
    options: ElectionOptions,
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
    leader: watch::Sender<Option<Leader>>,
}

/// The Lease as it was seen last, and since when it has been so.
#[derive(Debug, Default)]
struct Seen {
    version: String,
    since: Duration,
}

/// The time for which this process holds the Lease.
#[derive(Debug)]
pub struct Reign {
    clock: Arc<dyn Clock>,
    /// By the monotonic clock, in microseconds.
    lapses_at: AtomicU64,
    is_over: AtomicBool,
}

impl Reign {
    fn new(clock: Arc<dyn Clock>, lapses_at: Duration) -> Self {
        Self {
            clock,
            lapses_at: AtomicU64::new(micros(lapses_at)),
            is_over: AtomicBool::new(false),
        }
    }

    /// Whether this SC may write; what to say if not.
    ///
    /// # Errors
    /// When another SC leads, or the Lease could not be renewed in time.
    pub fn check(&self) -> Result<(), String> {
        if self.is_over.load(Ordering::Acquire) {
            return Err(
                "this SC no longer leads; connect again to reach the one that does".to_owned(),
            );
        }
        if micros(self.clock.monotonic()) >= self.lapses_at.load(Ordering::Acquire) {
            return Err(
                "this SC could not renew its Lease at the Kubernetes API server; try again"
                    .to_owned(),
            );
        }
        Ok(())
    }

    fn renewed(&self, lapses_at: Duration) {
        self.lapses_at.store(micros(lapses_at), Ordering::Release);
    }

    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Candidate {
    /// Takes part from now on.
    #[must_use]
    pub fn new(client: Client, options: ElectionOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            api: Api::namespaced(client, &options.namespace),
            options,
            clock,
            seen: Mutex::default(),
            leader: watch::Sender::new(None),
        }
    }

    /// Who leads; `None` while nobody does.
    #[must_use]
    pub fn leader(&self) -> watch::Receiver<Option<Leader>> {
        self.leader.subscribe()
    }

    /// Waits until this process holds the Lease. Cancel-safe, but for a Lease that was just taken, which lapses.
    pub async fn elected(&self) -> Arc<Reign> {
        let mut looks = tokio::time::interval(self.renew_interval() / 2);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            match self.try_take().await {
                Ok(Some(reign)) => return Arc::new(reign),
                Ok(None) => {}
                Err(error) => debug!(%error, "failed to look at the Lease, trying again"),
            }
        }
    }

    /// Renews the Lease until it is lost to another one or given up, which it is when `shutdown` fires.
    pub async fn hold(&self, reign: &Reign, shutdown: &CancellationToken) {
        let mut renewals = tokio::time::interval(self.renew_interval());
        renewals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => {
                    reign.end();
                    self.give_up().await;
                    return;
                }
                _ = renewals.tick() => {}
            }
            match self.renew(reign).await {
                Ok(true) => {}
                Ok(false) => {
                    reign.end();
                    warn!("another one leads, this one's reign is over");
                    return;
                }
                Err(error) => warn!(%error, "failed to renew the Lease, trying again"),
            }
        }
    }

    fn renew_interval(&self) -> Duration {
        self.options.duration / 3
    }

    /// Takes the Lease if it is free or has lapsed.
    async fn try_take(&self) -> Result<Option<Reign>, RequestError> {
        let asked_at = self.clock.monotonic();
        let Some(mut lease) = self.request(self.api.get_opt(self.options.name)).await? else {
            let lease = self.taken(Lease::default());
            return match self
                .request(self.api.create(&self.parameters(), &lease))
                .await
            {
                Ok(made) => Ok(Some(self.won(&made, asked_at))),
                Err(RequestError::AlreadyExists) => Ok(None),
                Err(error) => Err(error),
            };
        };
        let holder = holder_of(&lease);
        let is_ours = holder == self.options.identity;
        if !holder.is_empty() && !is_ours && !self.has_lapsed(&lease) {
            self.show(&lease);
            return Ok(None);
        }
        lease = self.taken(lease);
        let asked_at = self.clock.monotonic();
        match self
            .request(
                self.api
                    .replace(self.options.name, &self.parameters(), &lease),
            )
            .await
        {
            Ok(taken) => Ok(Some(self.won(&taken, asked_at))),
            Err(RequestError::Conflict) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Renews the Lease; false where another one holds it.
    async fn renew(&self, reign: &Reign) -> Result<bool, RequestError> {
        let mut lease = self.request(self.api.get(self.options.name)).await?;
        if holder_of(&lease) != self.options.identity {
            self.show(&lease);
            return Ok(false);
        }
        if let Some(spec) = &mut lease.spec {
            spec.renew_time = Some(self.now());
        }
        let asked_at = self.clock.monotonic();
        match self
            .request(
                self.api
                    .replace(self.options.name, &self.parameters(), &lease),
            )
            .await
        {
            Ok(_) => {
                reign.renewed(asked_at + self.options.duration);
                Ok(true)
            }
            // Seen again at the next renewal.
            Err(RequestError::Conflict) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// Lets another one take the Lease at once.
    async fn give_up(&self) {
        let given: Result<(), RequestError> = async {
            let mut lease = self.request(self.api.get(self.options.name)).await?;
            if holder_of(&lease) != self.options.identity {
                return Ok(());
            }
            if let Some(spec) = &mut lease.spec {
                spec.holder_identity = Some(String::new());
            }
            self.request(
                self.api
                    .replace(self.options.name, &self.parameters(), &lease),
            )
            .await?;
            info!("gave up the Lease");
            Ok(())
        }
        .await;
        if let Err(error) = given {
            warn!(%error, "failed to give up the Lease, it lapses");
        }
    }

    /// Whether the Lease has been as it is for as long as it lasts.
    fn has_lapsed(&self, lease: &Lease) -> bool {
        let now = self.clock.monotonic();
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let seconds = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds);
        let lasts = seconds.map_or(self.options.duration, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
        });
        let mut seen = self.seen.lock().expect("nothing panics while it holds it");
        if seen.version != version {
            *seen = Seen {
                version,
                since: now,
            };
        }
        now.saturating_sub(seen.since) >= lasts
    }

    /// The Lease as it is once this SC has it.
    fn taken(&self, mut lease: Lease) -> Lease {
        lease.metadata = ObjectMeta {
            name: Some(self.options.name.to_owned()),
            ..lease.metadata
        };
        if !self.options.address.is_empty() {
            let address = (ADDRESS_ANNOTATION.to_owned(), self.options.address.clone());
            let annotations = lease.metadata.annotations.get_or_insert_default();
            annotations.extend([address]);
        }
        let before = lease.spec.unwrap_or_default();
        let transitions = before
            .lease_transitions
            .map_or(0, |count| count.saturating_add(1));
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.options.identity.clone()),
            lease_duration_seconds: i32::try_from(self.options.duration.as_secs()).ok(),
            acquire_time: Some(self.now()),
            renew_time: Some(self.now()),
            lease_transitions: Some(transitions),
            ..before
        });
        lease
    }

    fn won(&self, lease: &Lease, asked_at: Duration) -> Reign {
        self.show(lease);
        info!(
            identity = self.options.identity,
            lease = self.options.name,
            "this one leads"
        );
        Reign::new(Arc::clone(&self.clock), asked_at + self.options.duration)
    }

    /// Tells who holds the Lease.
    fn show(&self, lease: &Lease) {
        let annotations = lease.metadata.annotations.as_ref();
        let address = annotations.and_then(|all| all.get(ADDRESS_ANNOTATION));
        let leader = Leader {
            identity: holder_of(lease).to_owned(),
            address: address.cloned().unwrap_or_default(),
        };
        self.leader.send_if_modified(|shown| {
            let changed = shown.as_ref() != Some(&leader);
            *shown = Some(leader);
            changed
        });
    }

    fn parameters(&self) -> PostParams {
        PostParams {
            field_manager: Some(self.options.name.to_owned()),
            ..PostParams::default()
        }
    }

    fn now(&self) -> MicroTime {
        let now = Timestamp::from_millisecond(self.clock.now_ms());
        MicroTime(now.unwrap_or(Timestamp::UNIX_EPOCH))
    }

    /// The answer, unless it takes longer than the Lease could wait for.
    async fn request<T>(
        &self,
        request: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, RequestError> {
        match tokio::time::timeout(self.renew_interval(), request).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(RequestError::Unavailable("no answer in time".to_owned())),
        }
    }
}

fn holder_of(lease: &Lease) -> &str {
    let spec = lease.spec.as_ref();
    spec.and_then(|spec| spec.holder_identity.as_deref())
        .unwrap_or_default()
}
