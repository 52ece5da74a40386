//! Answers `GET /metrics` over HTTP, on a port of its own.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use thalweg_runtime::TaskGroup;
use tokio::net::TcpListener;
use tracing::warn;

use super::Metrics;

/// What OpenMetrics text is called (section 3.1 of its specification).
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves `metrics` on `listener` in `tasks`, until the group is stopped. A failure ends this
/// alone: an SPU that can't be watched still serves.
pub(crate) fn serve(listener: TcpListener, metrics: Arc<Metrics>, tasks: &TaskGroup) {
    let answers = Router::new().route("/metrics", get(move || answer(Arc::clone(&metrics))));
    tasks.spawn("metrics-server", |shutdown| async move {
        let served = axum::serve(listener, answers)
            .with_graceful_shutdown(async move { shutdown.cancelled().await })
            .await;
        if let Err(error) = served {
            warn!(%error, "the metrics are no longer served");
        }
        Ok::<_, Infallible>(())
    });
}

async fn answer(metrics: Arc<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, OPENMETRICS)], metrics.text())
}
