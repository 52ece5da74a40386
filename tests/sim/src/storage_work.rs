//! What an SPU's logs have to do, as tasks of its host: writes one after the other, and beside them
//! syncs, several at a time. Each takes as long as the disk does.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_runtime::TaskGroup;
use thalweg_storage::{StorageDriver, StorageWork};
use tokio::sync::Notify;

/// How many syncs go on at a time.
const SYNCS_MAX: usize = 2;

/// How long the disk takes; changed while the host runs.
#[derive(Debug)]
pub(crate) struct DiskPace {
    longest_us: AtomicU64,
    chance: Mutex<SmallRng>,
}

impl DiskPace {
    /// A fast disk.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let pace = Self {
            longest_us: AtomicU64::new(0),
            chance: Mutex::new(SmallRng::seed_from_u64(seed)),
        };
        pace.set_longest(Self::FAST);
        Arc::new(pace)
    }

    /// How long a sync of a disk without faults takes at most.
    pub(crate) const FAST: Duration = Duration::from_millis(3);

    /// How long a sync takes at most from now on.
    pub(crate) fn set_longest(&self, longest: Duration) {
        let longest_us = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        self.longest_us.store(longest_us, Ordering::Relaxed);
    }

    fn next(&self, is_sync: bool) -> Duration {
        let longest_us = self.longest_us.load(Ordering::Relaxed);
        let mut chance = self.chance.lock().expect("nobody panics with it");
        let taken_us = chance.random_range(0..=longest_us);
        // A write goes into the page cache.
        Duration::from_micros(if is_sync { taken_us } else { taken_us / 8 })
    }
}

/// The work of one process's logs. No log is in a queue twice, so each is bounded by their number.
pub(crate) struct Driver {
    writes: Queue,
    syncs: Queue,
}

#[derive(Default)]
struct Queue {
    work: Mutex<VecDeque<StorageWork>>,
    more: Notify,
}

impl Driver {
    /// Carries out what is scheduled, as tasks of `tasks`. What waits when they end is dropped.
    pub(crate) fn start(pace: &Arc<DiskPace>, tasks: &TaskGroup) -> Arc<dyn StorageDriver> {
        let driver = Arc::new(Self {
            writes: Queue::default(),
            syncs: Queue::default(),
        });
        let workers = std::iter::once(false).chain([true; SYNCS_MAX]);
        for is_sync in workers {
            let worker = Worker {
                driver: Arc::clone(&driver),
                is_sync,
            };
            let pace = Arc::clone(pace);
            tasks.spawn("disk", |_| async move {
                worker.run(&pace).await;
                Ok::<_, Infallible>(())
            });
        }
        driver
    }

    fn queue(&self, is_sync: bool) -> &Queue {
        if is_sync { &self.syncs } else { &self.writes }
    }
}

impl StorageDriver for Driver {
    fn schedule(&self, work: StorageWork) {
        let queue = self.queue(work.is_sync());
        queue.lock().push_back(work);
        queue.more.notify_one();
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, VecDeque<StorageWork>> {
        self.work.lock().expect("nothing panics with the queue")
    }
}

struct Worker {
    driver: Arc<Driver>,
    is_sync: bool,
}

impl Worker {
    async fn run(self, pace: &DiskPace) {
        let queue = self.driver.queue(self.is_sync);
        loop {
            let next = queue.lock().pop_front();
            match next {
                Some(work) => {
                    tokio::time::sleep(pace.next(self.is_sync)).await;
                    work.carry_out();
                }
                None => queue.more.notified().await,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Work holds its log and the log its driver: nobody else would let go of them.
        let left = std::mem::take(&mut *self.driver.queue(self.is_sync).lock());
        drop(left);
    }
}
