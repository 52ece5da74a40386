//! Answers `GET /metrics` over HTTP, on a port of its own, and the questions of kubelet.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::Listener;
use thalweg_runtime::TaskGroup;
use thalweg_runtime::net::{TcpListener, TcpStream};
use tracing::warn;

use super::Metrics;
use crate::health::Health;

/// What OpenMetrics text is called (section 3.1 of its specification).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How long to wait after the system gave no connection, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves `metrics` and `health` on `listener` in `tasks`, until the group is stopped. A failure ends
/// this alone: an SPU that can't be watched still serves.
pub(crate) fn serve(
    listener: TcpListener,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    tasks: &TaskGroup,
) {
    let answers = Router::new()
        .route("/metrics", get(move || answer(Arc::clone(&metrics))))
        // Who answers has opened its data directory and taken its ports. What it may wait for after
        // that, another start would not bring.
        .route("/startupz", get(async || "started\n"))
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(move || ready(Arc::clone(&health))));
    tasks.spawn("metrics-server", |shutdown| async move {
        let served = axum::serve(Connections(listener), answers)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        if let Err(error) = served {
            warn!(%error, "the metrics are no longer served");
        }
        Ok::<_, Infallible>(())
    });
}

/// Those who ask.
struct Connections(TcpListener);

impl Listener for Connections {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => {
                    warn!(%error, "failed to accept a connection that asks for metrics");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

async fn ready(health: Arc<Health>) -> (StatusCode, String) {
    let reasons = health.reasons();
    if reasons.is_empty() {
        (StatusCode::OK, "ready\n".to_owned())
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, reasons.to_string())
    }
}

async fn answer(metrics: Arc<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], metrics.text())
}
