//! The store of an SC that stands alone: sled in a directory of its own.
//!
//! All rows are also held in memory: reads never touch the disk, and writes are judged there. A
//! write runs to its end on a blocking thread even when its caller hangs up: judge, persist and
//! sync, publish. Publishing comes last, so nobody ever sees what a crash could take back.
//!
//! After a failed write what is on the disk is unknown, so the next write first opens sled afresh
//! and tells all watchers what it found.

mod codec;
mod directory;
mod open_error;

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use thalweg_types::ClusterId;
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind};
use tracing::{info, warn};

pub use directory::FORMAT_VERSION;
pub use open_error::OpenError;

use self::codec::Contents;
use self::directory::DirectoryLock;
use crate::published::Published;
use crate::rows::{Plan, Rows};
use crate::{Counter, MetadataStore, Refused, StoreError, Watch, Write};

/// How a [`SledStore`] behaves.
#[derive(Debug, Clone)]
pub struct SledOptions {
    /// How much memory sled may use for its cache, in bytes. Rows are held in memory beside it,
    /// so it needs little.
    pub cache_bytes: u64,
}

impl Default for SledOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 1 << 20,
        }
    }
}

/// Keeps the cluster's resources in one directory. Cheap to clone; all clones are one store.
#[derive(Debug, Clone)]
pub struct SledStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    cluster_id: ClusterId,
    path: PathBuf,
    options: SledOptions,
    /// Held while a write is judged, persisted and published. `None` after a failure, until sled
    /// is opened afresh.
    engine: Mutex<Option<sled::Db>>,
    published: Arc<Published>,
    /// Last, so that the directory is unlocked after sled is closed.
    _lock: DirectoryLock,
}

impl SledStore {
    /// Opens the store in `directory`, or makes a new one, with a new cluster id, where there is
    /// none.
    ///
    /// # Errors
    /// When another process has it open, a newer version wrote it, or it is damaged. Nothing has
    /// changed then.
    pub async fn open(directory: &Path, options: SledOptions) -> Result<Self, OpenError> {
        let directory = directory.to_owned();
        let path = directory.clone();
        tokio::task::spawn_blocking(move || Self::open_blocking(directory, options))
            .await
            // sled asserts on some kinds of damage where it should return an error.
            .unwrap_or_else(|panicked| {
                Err(OpenError::Corrupt {
                    path,
                    reason: panicked.to_string(),
                })
            })
    }

    fn open_blocking(directory: PathBuf, options: SledOptions) -> Result<Self, OpenError> {
        let lock = DirectoryLock::take(&directory)?;
        let known = directory::read_identity(&directory)?;
        let engine = open_sled(&directory, &options)?;
        let cluster_id = codec::identify(&engine, &directory, known)?;
        if known.is_none() {
            directory::write_identity(&directory, cluster_id)?;
            info!(%cluster_id, path = %directory.display(), "made a new cluster");
        }
        let Contents { rows, counters } = codec::load(&engine, &directory)?;
        Ok(Self {
            shared: Arc::new(Shared {
                cluster_id,
                path: directory,
                options,
                engine: Mutex::new(Some(engine)),
                published: Published::new(Rows::new(rows, counters)),
                _lock: lock,
            }),
        })
    }

    /// Runs `work` to its end on a blocking thread.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(StoreError::Failed {
                reason: error.to_string(),
            }),
            Err(_) => Err(StoreError::Closed),
        }
    }
}

impl Shared {
    fn write(&self, writes: Vec<Write>) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        self.commit(|rows| rows.plan(writes))
    }

    fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError> {
        self.commit(|rows| rows.plan_take(counter, count))
    }

    /// Judges by `judge`, persists what it says, and publishes it.
    fn commit<T>(&self, judge: impl FnOnce(&Rows) -> Plan<T>) -> Result<T, StoreError> {
        let mut engine = self.engine();
        let open = match engine.take() {
            Some(open) => open,
            None => self.open_afresh()?,
        };
        let (plan, before) = {
            let rows = self.published.rows();
            (judge(&rows), rows.counters())
        };
        if plan.counters != before {
            // On failure `engine` stays empty.
            codec::persist(&open, &self.path, &plan).map_err(|error| failed(error.into()))?;
        }
        *engine = Some(open);
        Ok(self.published.publish(plan))
    }

    /// Opens sled again after a failure, and tells everyone what it holds.
    fn open_afresh(&self) -> Result<sled::Db, StoreError> {
        let unopened = |error: OpenError| failed(error.into());
        let engine = open_sled(&self.path, &self.options).map_err(unopened)?;
        let Contents { rows, counters } = codec::load(&engine, &self.path).map_err(unopened)?;
        warn!(path = %self.path.display(), "opened the metadata store afresh after a failure");
        self.published.replace(Rows::new(rows, counters));
        Ok(engine)
    }

    fn engine(&self) -> MutexGuard<'_, Option<sled::Db>> {
        // Where a writer panicked, sled was taken out and is opened afresh.
        self.engine
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl MetadataStore for SledStore {
    fn cluster_id(&self) -> ClusterId {
        self.shared.cluster_id
    }

    async fn get(&self, key: &ResourceKey) -> Result<Option<Resource>, StoreError> {
        Ok(self.shared.published.rows().get(key).cloned())
    }

    async fn list(&self, kind: ResourceKind) -> Result<Vec<Resource>, StoreError> {
        Ok(self.shared.published.rows().list(kind))
    }

    async fn write(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.blocking(move |shared| shared.write(writes)).await
    }

    async fn watch(&self) -> Result<Watch, StoreError> {
        Ok(self.shared.published.watch())
    }

    async fn take(&self, counter: Counter, count: u32) -> Result<u64, StoreError> {
        self.blocking(move |shared| shared.take(counter, count))
            .await
    }
}

/// What a caller is told of `error`: all of its causes, and what to do about a full disk.
fn failed(error: Box<dyn Error>) -> StoreError {
    let mut reason = error.to_string();
    let mut is_full = false;
    let mut cause = Some(&*error as &dyn Error);
    while let Some(error) = cause {
        let io = match error.downcast_ref::<sled::Error>() {
            Some(sled::Error::Io(io)) => Some(io),
            _ => error.downcast_ref::<io::Error>(),
        };
        is_full |= io.is_some_and(|io| io.kind() == io::ErrorKind::StorageFull);
        cause = error.source();
        if let Some(cause) = cause {
            reason = format!("{reason}: {cause}");
        }
    }
    if is_full {
        reason.push_str("; make room on the SC's disk, it then goes on by itself");
    }
    StoreError::Failed { reason }
}

/// Opens the rows' engine. The directory is ours: if sled finds its own file locked, a store that
/// this process just closed has a thread that is about to let go of it.
fn open_sled(directory: &Path, options: &SledOptions) -> Result<sled::Db, OpenError> {
    let config = sled::Config::new()
        .path(directory.join(codec::ENGINE_FOLDER))
        .cache_capacity(options.cache_bytes)
        .mode(sled::Mode::LowSpace)
        // Every write is synced before it is acknowledged; nothing is left for a timer.
        .flush_every_ms(None);
    let mut attempts_left = CLOSING_WAIT_MAX.as_millis() / CLOSING_POLL.as_millis();
    loop {
        match config.open() {
            Ok(engine) => return Ok(engine),
            Err(error) if attempts_left > 0 && is_locked(&error) => {
                attempts_left -= 1;
                std::thread::sleep(CLOSING_POLL);
            }
            Err(error) => return Err(OpenError::from_sled(error, directory)),
        }
    }
}

/// How long a closed engine may take to let go of its file, and how often to look.
const CLOSING_WAIT_MAX: Duration = Duration::from_secs(5);
const CLOSING_POLL: Duration = Duration::from_millis(5);

/// sled has no error of its own for it.
fn is_locked(error: &sled::Error) -> bool {
    matches!(error, sled::Error::Io(error) if error.to_string().contains("could not acquire lock"))
}

#[cfg(test)]
mod tests;
