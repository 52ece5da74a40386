//! A cluster of real processes that a test starts, kills, pauses and restarts.
//!
//! The programs are those beside the test's own executable (`target/<profile>`), built by
//! `cargo ci` before the tests, or where `THALWEG_BIN_DIR` says. Everything listens on 127.0.0.1,
//! on ports that the system chose at the first start and that a restart keeps. Dropping the cluster
//! kills its processes.
#![forbid(unsafe_code)]

mod copies;
pub mod examples;
mod history;
mod http;
mod local_cluster;
pub mod modules;
mod node;

pub use copies::log_bytes;
pub use history::{History, ReadBack, read_back};
pub use http::http_get;
pub use local_cluster::LocalCluster;
pub use node::{Node, program_path};

use std::future::Future;
use std::time::Duration;

/// Asks again until `probe` answers with something, and fails the test after a minute.
///
/// # Panics
/// When a minute has passed: `what` never came true.
pub async fn eventually<T, F>(what: &str, probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    eventually_within(Duration::from_secs(60), what, probe).await
}

/// As [`eventually`], for what takes another time.
///
/// # Panics
/// When that time has passed: `what` never came true.
pub async fn eventually_within<T, F>(
    deadline: Duration,
    what: &str,
    mut probe: impl FnMut() -> F,
) -> T
where
    F: Future<Output = Option<T>>,
{
    const PAUSE: Duration = Duration::from_millis(20);
    let asking = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(deadline, asking).await {
        Ok(answer) => answer,
        Err(_) => panic!("{what} did not come true within {deadline:?}"),
    }
}
