//! Probes and metrics by HTTP: `GET /livez`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use thalweg_runtime::CancellationToken;
use tokio::net::TcpListener;

use crate::metrics::Metrics;

/// What the operator says of itself.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) metrics: Metrics,
    /// Whether it works, or waits for its turn.
    pub(crate) is_ready: AtomicBool,
}

impl Health {
    fn readiness(&self) -> (StatusCode, &'static str) {
        if self.is_ready.load(Ordering::Acquire) {
            (StatusCode::OK, "ok\n")
        } else {
            let reason = "the operator has not started yet\n";
            (StatusCode::SERVICE_UNAVAILABLE, reason)
        }
    }
}

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let of_metrics = Arc::clone(&health);
    let answers = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(move || async move { health.readiness() }))
        .route(
            "/metrics",
            get(move || async move { of_metrics.metrics.text() }),
        );
    axum::serve(listener, answers)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_ready_once_it_has_started() {
        let health = Health::default();

        assert_eq!(health.readiness().0, StatusCode::SERVICE_UNAVAILABLE);
        health.is_ready.store(true, Ordering::Release);
        assert_eq!(health.readiness().0, StatusCode::OK);
    }
}
