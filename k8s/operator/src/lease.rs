//! The Lease that keeps two operators from working at a time.
//!
//! Two at once would do no harm (what they apply is the same, and what takes something away names the very
//! object), they would only do everything twice. So a holder that lost the Lease just ends, and is started
//! again by kubelet.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use thalweg_runtime::{CancellationToken, Clock};
use tracing::{info, warn};

use crate::names::MANAGER;

/// How long a holder that is not heard of keeps the others waiting.
const LASTS: Duration = Duration::from_secs(15);

/// How often the holder says that it is there, and the others look.
const RENEWED_EVERY: Duration = Duration::from_secs(5);

/// Why an operator works no longer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the Lease {MANAGER} was lost to `{0}`; another operator works")]
pub struct LeaseLost(String);

/// One that takes part.
pub(crate) struct Candidate {
    api: Api<Lease>,
    identity: String,
    clock: Arc<dyn Clock>,
}

/// What a look at the Lease came to.
enum Look {
    Held,
    HeldBy { holder: String, renewed: String },
}

impl Candidate {
    pub(crate) fn new(
        client: &Client,
        namespace: &str,
        identity: String,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            api: Api::namespaced(client.clone(), namespace),
            identity,
            clock,
        }
    }

    /// Waits until the Lease is this one's. False when told to stop before.
    pub(crate) async fn acquire(&self, shutdown: &CancellationToken) -> bool {
        // By an own clock: those of two machines need not agree.
        let mut seen = (String::new(), self.clock.monotonic());
        let mut takes = false;
        loop {
            match self.look(takes).await {
                Ok(Look::Held) => {
                    info!(identity = self.identity, "this operator works");
                    return true;
                }
                Ok(Look::HeldBy { holder, renewed }) => {
                    let now = self.clock.monotonic();
                    if seen.0 != renewed {
                        info!(holder, "another operator works");
                        seen = (renewed, now);
                    }
                    takes = now - seen.1 > LASTS;
                }
                Err(error) => warn!(%error, "the Lease can't be read or written"),
            }
            tokio::select! {
                () = shutdown.cancelled() => return false,
                () = tokio::time::sleep(RENEWED_EVERY) => {}
            }
        }
    }

    /// Keeps the Lease until told to stop, and gives it up then.
    pub(crate) async fn keep(&self, shutdown: CancellationToken) -> Result<(), LeaseLost> {
        let mut renewed = self.clock.monotonic();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep(RENEWED_EVERY) => {}
            }
            let asked = self.clock.monotonic();
            match self.look(false).await {
                Ok(Look::Held) => renewed = asked,
                Ok(Look::HeldBy { holder, .. }) => return Err(LeaseLost(holder)),
                Err(error) => warn!(%error, "the Lease can't be renewed"),
            }
            if self.clock.monotonic() - renewed > LASTS {
                return Err(LeaseLost("nobody that is known".to_owned()));
            }
        }
        if let Err(error) = self.give_up().await {
            warn!(%error, "the Lease was not given up; another operator waits until it lapses");
        }
        Ok(())
    }

    /// Renews it where it is this one's or nobody's, or where `takes`.
    async fn look(&self, takes: bool) -> kube::Result<Look> {
        let Some(mut lease) = self.api.get_opt(MANAGER).await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(MANAGER.to_owned()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.spec(None)),
            };
            self.api.create(&PostParams::default(), &lease).await?;
            return Ok(Look::Held);
        };
        let spec = lease.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let is_free = holder.is_empty() || holder == self.identity;
        if !is_free && !takes {
            let renewed = lease.metadata.resource_version.unwrap_or_default();
            return Ok(Look::HeldBy { holder, renewed });
        }
        lease.spec = Some(self.spec(Some(&spec)));
        // The version that was read is named, so that of two that take it one is refused.
        self.api
            .replace(MANAGER, &PostParams::default(), &lease)
            .await?;
        Ok(Look::Held)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = Timestamp::from_millisecond(self.clock.now_ms()).unwrap_or(Timestamp::UNIX_EPOCH);
        let is_mine =
            before.is_some_and(|one| one.holder_identity.as_ref() == Some(&self.identity));
        let since = before
            .filter(|_| is_mine)
            .and_then(|one| one.acquire_time.clone());
        let changes = before.and_then(|one| one.lease_transitions).unwrap_or(0);
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: since.or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(changes + i32::from(!is_mine)),
            ..LeaseSpec::default()
        }
    }

    async fn give_up(&self) -> kube::Result<()> {
        let Some(mut lease) = self.api.get_opt(MANAGER).await? else {
            return Ok(());
        };
        let Some(spec) = &mut lease.spec else {
            return Ok(());
        };
        if spec.holder_identity.as_ref() == Some(&self.identity) {
            spec.holder_identity = None;
            self.api
                .replace(MANAGER, &PostParams::default(), &lease)
                .await?;
        }
        Ok(())
    }
}
