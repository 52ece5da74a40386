//! Something that is made from files, and made anew when they change.

use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::TlsError;

/// How often files are looked at, at the most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

type Load<T> = Box<dyn Fn() -> Result<T, TlsError> + Send + Sync>;

/// What files say now.
pub(super) struct FromFiles<T> {
    paths: Vec<PathBuf>,
    load: Load<T>,
    made: Mutex<Made<T>>,
}

struct Made<T> {
    value: Arc<T>,
    /// Of the files that it was made from, or that nothing could be made from.
    fingerprint: u64,
    looked_at: Instant,
}

impl<T> FromFiles<T> {
    pub(super) fn load(paths: Vec<PathBuf>, load: Load<T>) -> Result<Self, TlsError> {
        let fingerprint = fingerprint(&paths);
        let value = Arc::new(load()?);
        Ok(Self {
            paths,
            load,
            made: Mutex::new(Made {
                value,
                fingerprint,
                looked_at: Instant::now(),
            }),
        })
    }

    /// What the files say, or said before they were of no use.
    pub(super) fn current(&self) -> Arc<T> {
        let mut made = self
            .made
            .lock()
            .expect("nothing panics while it holds this lock");
        if made.looked_at.elapsed() < LOOK_INTERVAL {
            return Arc::clone(&made.value);
        }
        made.looked_at = Instant::now();
        let found = fingerprint(&self.paths);
        if found != made.fingerprint {
            made.fingerprint = found;
            match (self.load)() {
                Ok(value) => {
                    info!(files = ?self.paths, "using certificates that have changed");
                    made.value = Arc::new(value);
                }
                Err(error) => warn!(%error, "keeping the certificates that were there before"),
            }
        }
        Arc::clone(&made.value)
    }
}

impl<T> fmt::Debug for FromFiles<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromFiles")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

/// Differs where the files do.
fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        std::fs::read(path).ok().hash(&mut hasher);
    }
    hasher.finish()
}
