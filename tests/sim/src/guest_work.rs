//! What an SPU's engine has to do, as a task of its host: one job after the other, each as late as chance says. A guest
//! itself takes no time that the simulation knows of.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use thalweg_runtime::TaskGroup;
use thalweg_smartengine::{GuestDriver, Job};
use tokio::sync::Notify;

/// How long a job takes at most, in general.
const QUICK_MAX: Duration = Duration::from_millis(2);
/// How long one in [`SLOW_ONE_IN`] does.
const SLOW_MAX: Duration = Duration::from_millis(400);
const SLOW_ONE_IN: u32 = 50;

/// How long a host's jobs take, in all lives of its process.
#[derive(Debug)]
pub(crate) struct GuestPace {
    chance: Mutex<SmallRng>,
}

impl GuestPace {
    /// What follows from `seed`.
    #[must_use]
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let chance = Mutex::new(SmallRng::seed_from_u64(seed));
        Arc::new(Self { chance })
    }

    fn next(&self) -> Duration {
        let mut chance = self.chance.lock().expect("nobody panics with it");
        let longest = if chance.random_ratio(1, SLOW_ONE_IN) {
            SLOW_MAX
        } else {
            QUICK_MAX
        };
        longest.mul_f64(chance.random())
    }
}

/// The jobs of one process. There is one of a stream at a time, so that they are bounded by the number of streams.
#[derive(Default)]
pub(crate) struct Guests {
    jobs: Mutex<VecDeque<Job>>,
    more: Notify,
}

impl Guests {
    /// Runs what is scheduled, as a task of `tasks`. What waits when they end is dropped.
    pub(crate) fn start(pace: &Arc<GuestPace>, tasks: &TaskGroup) -> Arc<dyn GuestDriver> {
        let guests = Arc::new(Self::default());
        let worker = Worker(Arc::clone(&guests));
        let pace = Arc::clone(pace);
        tasks.spawn("guests", |_| async move {
            worker.run(&pace).await;
            Ok::<_, Infallible>(())
        });
        guests
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().expect("nothing panics with the queue")
    }
}

impl GuestDriver for Guests {
    fn schedule(&self, job: Job) {
        self.lock().push_back(job);
        self.more.notify_one();
    }
}

struct Worker(Arc<Guests>);

impl Worker {
    async fn run(self, pace: &GuestPace) {
        loop {
            let next = self.0.lock().pop_front();
            match next {
                Some(job) => {
                    tokio::time::sleep(pace.next()).await;
                    job();
                }
                None => self.0.more.notified().await,
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // A job may hold its engine and the engine these: nobody else would let go of them.
        let left = std::mem::take(&mut *self.0.lock());
        drop(left);
    }
}
