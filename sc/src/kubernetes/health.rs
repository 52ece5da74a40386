//! What kubelet and Prometheus ask of an SC: `GET /livez`, `/readyz`, `/metrics`.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use thalweg_k8s_store::Leader;
use thalweg_runtime::TaskGroup;
use thalweg_runtime::net::TcpStream;
use thalweg_types::ControllerEpoch;
use tokio::sync::watch;
use tracing::warn;

use crate::server::StartError;

/// How long the leader may take to accept a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(1);

/// What this SC is at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    StandsBy,
    Leads { epoch: ControllerEpoch },
}

/// What is known of this SC's state.
#[derive(Debug)]
pub(super) struct Health {
    role: Mutex<Role>,
    leader: watch::Receiver<Option<Leader>>,
}

impl Health {
    pub(super) fn new(leader: watch::Receiver<Option<Leader>>) -> Self {
        Self {
            role: Mutex::new(Role::StandsBy),
            leader,
        }
    }

    pub(super) fn set(&self, role: Role) {
        *self.role.lock().expect("nothing panics while it holds it") = role;
    }

    fn role(&self) -> Role {
        *self.role.lock().expect("nothing panics while it holds it")
    }

    /// Whether a client that comes here is served, by this SC or by the one that leads.
    async fn readiness(&self) -> (StatusCode, String) {
        if let Role::Leads { epoch } = self.role() {
            return (StatusCode::OK, format!("leads, epoch {epoch}\n"));
        }
        let leader = self.leader.borrow().clone();
        let Some(leader) = leader.filter(|leader| !leader.address.is_empty()) else {
            let reason = "stands by, and nobody leads yet\n";
            return (StatusCode::SERVICE_UNAVAILABLE, reason.to_owned());
        };
        let Leader { identity, address } = leader;
        let connecting = TcpStream::connect(address.as_str());
        match tokio::time::timeout(CONNECT_WAIT_MAX, connecting).await {
            Ok(Ok(_)) => (StatusCode::OK, format!("stands by, {identity} leads\n")),
            Ok(Err(error)) => unreachable_leader(&identity, &address, &error.to_string()),
            Err(_) => unreachable_leader(&identity, &address, "no answer"),
        }
    }

    /// In OpenMetrics' text form.
    fn metrics(&self) -> String {
        let (leads, epoch) = match self.role() {
            Role::StandsBy => (0, 0),
            Role::Leads { epoch } => (1, epoch.0),
        };
        let mut text = String::new();
        for (name, help, value) in [
            ("thalweg_sc_leads", "Whether this SC leads.", leads),
            (
                "thalweg_sc_epoch",
                "The number of this SC's reign; 0 while it stands by.",
                epoch,
            ),
        ] {
            writeln!(
                text,
                "# TYPE {name} gauge\n# HELP {name} {help}\n{name} {value}"
            )
            .expect("writing to a String can't fail");
        }
        text.push_str("# EOF\n");
        text
    }
}

fn unreachable_leader(identity: &str, address: &str, reason: &str) -> (StatusCode, String) {
    let text = format!("stands by, and can't reach {identity} at {address}: {reason}\n");
    (StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Answers at `listen` until the group is stopped.
pub(super) async fn serve(
    listen: SocketAddr,
    health: Arc<Health>,
    tasks: &TaskGroup,
) -> Result<(), StartError> {
    let listener = tokio::net::TcpListener::bind(listen)
        .await
        .map_err(|source| StartError::Listen {
            address: listen,
            source,
        })?;
    let of_metrics = Arc::clone(&health);
    let answers = Router::new()
        .route("/livez", get(|| async { "lives\n" }))
        .route(
            "/readyz",
            get(move || async move { health.readiness().await }),
        )
        .route("/metrics", get(move || async move { of_metrics.metrics() }));
    tasks.spawn("health-server", |shutdown| async move {
        let served = axum::serve(listener, answers)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        if let Err(error) = served {
            warn!(%error, "health is no longer told");
        }
        Ok::<_, Infallible>(())
    });
    Ok(())
}
