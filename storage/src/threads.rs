//! The threads that write and sync for all logs of a process.
//!
//! A log is put into a pool's queue when it has something to do and is not in it already, so each
//! queue is bounded by the number of logs and no two threads of a pool work on one log. A log that
//! has more to do goes to the back of the queue: one busy partition does not starve the others.
//!
//! A caller that has no threads to give, as the simulation, carries the work out itself
//! ([`StorageThreads::driven`]).

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use thalweg_types::CopyNumber;
use tracing::error;

use crate::Log;
use crate::locks::lock;
use crate::open_files::OpenFiles;

/// How many threads, and how much they may hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadOptions {
    /// Threads that write to the page cache.
    pub writer_threads: usize,
    /// Threads that sync to the disk.
    pub sync_threads: usize,
    /// How many bytes of one partition may wait to be written before appends are refused.
    pub queue_bytes: usize,
    /// How many segments are kept open over all partitions; the longest unused is closed.
    pub open_segments_max: usize,
}

impl Default for ThreadOptions {
    fn default() -> Self {
        Self {
            writer_threads: 2,
            sync_threads: 4,
            queue_bytes: 32 << 20,
            open_segments_max: 512,
        }
    }
}

/// The writer and sync threads of a process, shared by its logs. They end when it is dropped.
pub struct StorageThreads {
    options: ThreadOptions,
    open_files: Arc<OpenFiles>,
    appended_bytes: AtomicU64,
    opened_logs: AtomicU64,
    writers: Workers,
    syncers: Workers,
}

/// Who carries out what logs have to do, where that is not a thread of ours.
pub trait StorageDriver: Send + Sync {
    /// Sees to it that `work` is carried out soon, or dropped where the process ends.
    fn schedule(&self, work: StorageWork);
}

/// Something that a log has to do: one write or one sync.
pub struct StorageWork {
    log: Arc<Log>,
    work: Work,
    is_sync: bool,
    driver: Arc<dyn StorageDriver>,
}

impl StorageWork {
    /// Whether the disk has to be waited for.
    pub const fn is_sync(&self) -> bool {
        self.is_sync
    }

    /// Carries it out. Where there is more, that is scheduled.
    pub fn carry_out(self) {
        if contain(&self.log, || (self.work)(&self.log)) {
            let driver = Arc::clone(&self.driver);
            driver.schedule(self);
        }
    }
}

impl StorageThreads {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the operating system gives no threads.
    pub fn start(options: ThreadOptions) -> io::Result<Arc<Self>> {
        let writers = Pool::start("log-writer", options.writer_threads, Log::write_queued)?;
        let syncers = Pool::start("log-sync", options.sync_threads, Log::sync_written)?;
        Ok(Self::with(
            options,
            Workers::Threads(writers),
            Workers::Threads(syncers),
        ))
    }

    /// Starts no threads: `driver` has all work done.
    pub fn driven(options: ThreadOptions, driver: &Arc<dyn StorageDriver>) -> Arc<Self> {
        let workers = |work: Work, is_sync| Workers::Driver {
            driver: Arc::clone(driver),
            work,
            is_sync,
        };
        Self::with(
            options,
            workers(Log::write_queued, false),
            workers(Log::sync_written, true),
        )
    }

    fn with(options: ThreadOptions, writers: Workers, syncers: Workers) -> Arc<Self> {
        Arc::new(Self {
            open_files: Arc::new(OpenFiles::new(options.open_segments_max)),
            appended_bytes: AtomicU64::new(0),
            opened_logs: AtomicU64::new(0),
            writers,
            syncers,
            options,
        })
    }

    pub(crate) const fn options(&self) -> &ThreadOptions {
        &self.options
    }

    pub(crate) const fn open_files(&self) -> &Arc<OpenFiles> {
        &self.open_files
    }

    /// How many bytes were appended to all logs since the start.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// The number of a log that is being opened: no other one has it.
    pub(crate) fn number_log(&self) -> CopyNumber {
        CopyNumber(self.opened_logs.fetch_add(1, Ordering::Relaxed)).next()
    }

    pub(crate) fn note_appended(&self, bytes: u64) {
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Has a log's queue written. The log sees to it that it is scheduled once at a time.
    pub(crate) fn schedule_write(&self, log: &Arc<Log>) {
        self.writers.schedule(log);
    }

    /// Has a log synced. The log sees to it that it is scheduled once at a time.
    pub(crate) fn schedule_sync(&self, log: &Arc<Log>) {
        self.syncers.schedule(log);
    }
}

impl fmt::Debug for StorageThreads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageThreads")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What a pool does with a log; returns whether there is more.
type Work = fn(&Arc<Log>) -> bool;

/// Works on a log and returns whether there is more to do. A bug on behalf of one partition must
/// not stop all others: where `work` panics, the log has failed.
pub(crate) fn contain(log: &Arc<Log>, work: impl FnOnce() -> bool) -> bool {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        log.fail("a bug stopped its writer".to_owned());
        log.abandon_queue();
        false
    })
}

/// Who does one kind of work.
enum Workers {
    Threads(Pool),
    Driver {
        driver: Arc<dyn StorageDriver>,
        work: Work,
        is_sync: bool,
    },
}

impl Workers {
    fn schedule(&self, log: &Arc<Log>) {
        let log = Arc::clone(log);
        match self {
            Self::Threads(pool) => pool.queue.push(log),
            Self::Driver {
                driver,
                work,
                is_sync,
            } => driver.schedule(StorageWork {
                log,
                work: *work,
                is_sync: *is_sync,
                driver: Arc::clone(driver),
            }),
        }
    }
}

struct Pool {
    queue: Arc<ReadyQueue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct ReadyQueue {
    state: Mutex<ReadyState>,
    wake: Condvar,
}

#[derive(Default)]
struct ReadyState {
    ready: VecDeque<Arc<Log>>,
    stopping: bool,
}

impl Pool {
    fn start(name: &str, count: usize, work: Work) -> io::Result<Self> {
        let mut pool = Self {
            queue: Arc::default(),
            threads: Vec::new(),
        };
        for _ in 0..count.max(1) {
            let queue = Arc::clone(&pool.queue);
            let thread = thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || queue.run(work))?;
            pool.threads.push(thread);
        }
        Ok(pool)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.queue.state).stopping = true;
        self.queue.wake.notify_all();
        for thread in self.threads.drain(..) {
            // The last log may be dropped by one of these threads, which then ends by itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                error!("a storage thread panicked");
            }
        }
    }
}

impl ReadyQueue {
    fn push(&self, log: Arc<Log>) {
        lock(&self.state).ready.push_back(log);
        self.wake.notify_one();
    }

    /// What is queued when the pool stops is still done.
    fn run(&self, work: Work) {
        while let Some(log) = self.pop() {
            if contain(&log, || work(&log)) {
                self.push(log);
            }
        }
    }

    fn pop(&self) -> Option<Arc<Log>> {
        let mut state = lock(&self.state);
        loop {
            if let Some(log) = state.ready.pop_front() {
                return Some(log);
            }
            if state.stopping {
                return None;
            }
            state = self
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}
