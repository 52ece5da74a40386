//! Probes and metrics by HTTP: `/livez`, `/readyz`, `/metrics`.
//!
//! Three answers that are known beforehand need no framework: a request's first line says which, and
//! each connection serves one.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use thalweg_runtime::{CancellationToken, TaskGroup};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::debug;

use crate::metrics::Metrics;

/// Connections at a time; more wait.
const CONNECTIONS_MAX: usize = 32;

/// The longest request that is read.
const REQUEST_BYTES_MAX: u64 = 16 << 10;

/// How long a request and its answer may take.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// What the operator says of itself.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) metrics: Metrics,
    /// Whether it works, or waits for its turn.
    pub(crate) is_ready: AtomicBool,
}

/// Serves until told to stop.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    tasks: TaskGroup,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let connection = tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            connection = accept(&listener, &places) => connection,
        };
        let Some((connection, place)) = connection? else {
            return Ok(());
        };
        let health = health.clone();
        tasks.spawn("probe", |shutdown| async move {
            let _place = place;
            let answered = tokio::select! {
                () = shutdown.cancelled() => return Ok::<(), Infallible>(()),
                answered = tokio::time::timeout(ANSWERED_WITHIN, answer(connection, &health)) => answered,
            };
            if let Ok(Err(error)) = answered {
                debug!(%error, "a probe was not answered");
            }
            Ok(())
        });
    }
}

/// A connection, once there is a place for it; `None` when there never will be.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)>> {
    let Ok(place) = places.clone().acquire_owned().await else {
        return Ok(None);
    };
    let (connection, _) = listener.accept().await?;
    Ok(Some((connection, place)))
}

/// Answers the one request of a connection.
async fn answer(mut connection: TcpStream, health: &Health) -> std::io::Result<()> {
    let (read, mut write) = connection.split();
    let mut lines = BufReader::new(read.take(REQUEST_BYTES_MAX)).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    // All of the request is read, or closing the connection would take the answer back.
    while lines
        .next_line()
        .await?
        .is_some_and(|line| !line.is_empty())
    {}
    let (status, body) = response(&first, health);
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    write.write_all(head.as_bytes()).await?;
    write.write_all(body.as_bytes()).await?;
    write.shutdown().await
}

/// The status and the text for a request whose first line this is.
fn response(first: &str, health: &Health) -> (&'static str, String) {
    let path = first.split(' ').nth(1).unwrap_or_default();
    match path {
        "/livez" => ("200 OK", "ok\n".to_owned()),
        "/readyz" if health.is_ready.load(Ordering::Acquire) => ("200 OK", "ok\n".to_owned()),
        "/readyz" => (
            "503 Service Unavailable",
            "the operator has not started yet\n".to_owned(),
        ),
        "/metrics" => ("200 OK", health.metrics.text()),
        _ => (
            "404 Not Found",
            "there are /livez, /readyz and /metrics\n".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_has_its_answer() {
        let health = Health::default();
        let of = |path: &str| response(&format!("GET {path} HTTP/1.1"), &health).0;

        assert_eq!(of("/livez"), "200 OK");
        assert_eq!(of("/readyz"), "503 Service Unavailable");
        health.is_ready.store(true, Ordering::Release);
        assert_eq!(of("/readyz"), "200 OK");
        assert_eq!(of("/metrics"), "200 OK");
        assert_eq!(of("/"), "404 Not Found");
        assert_eq!(response("", &health).0, "404 Not Found");
    }
}
