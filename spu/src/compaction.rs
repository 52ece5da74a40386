//! Compacts logs by key: one thread of low priority, one log after the other, the one with the most
//! to do first, at a bounded pace.
//!
//! While nobody appends it takes the whole pace; else an eighth of it, or twice what is appended
//! where that is more, so that it costs little and still can't fall behind.
//!
//! Looks at all logs every few seconds. An error concerns one log, is said once, and the log is
//! tried again next time: a disk that was full may have room. A log that a bug stopped is left
//! alone until the SPU starts again.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thalweg_runtime::{CancellationToken, Clock, TaskGroup, blocking};
use thalweg_storage::{CleanOptions, CleanPace, CleanReport, Log, MaintainError};
use thalweg_types::PartitionId;
use tokio::sync::oneshot;
use tracing::{info, warn};
use uuid::Uuid;

use crate::options::SpuOptions;
use crate::replica::ReplicaSet;
use crate::upkeep::{pause, usable_logs};

/// How much further the priority of the thread is from the others': produce and fetch come first
/// where the processor is short.
const NICENESS: i32 = 10;

/// Which part of the pace it takes while there are appends.
const BUSY_SHARE: f64 = 1.0 / 8.0;
/// How often it looks whether there are.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// What is cheaper than waiting for it.
const WAIT_MIN: Duration = Duration::from_millis(2);
/// How long the thread waits before it looks whether it is time to stop.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Starts the task.
pub(crate) fn spawn(
    replicas: &Arc<ReplicaSet>,
    clock: &Arc<dyn Clock>,
    options: &SpuOptions,
    tasks: &TaskGroup,
) {
    let compaction = Compaction {
        replicas: Arc::clone(replicas),
        clock: Arc::clone(clock),
        interval: options.compaction_interval,
        bytes_per_second: options.compaction_bytes_per_second,
        memory_bytes: usize::try_from(options.compaction_memory_bytes).unwrap_or(usize::MAX),
        secret: Uuid::new_v4().as_u64_pair(),
        told: HashMap::new(),
        given_up: HashSet::new(),
    };
    if compaction.bytes_per_second > 0 {
        tasks.spawn("compaction", |shutdown| compaction.run(shutdown));
    }
}

struct Compaction {
    replicas: Arc<ReplicaSet>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    bytes_per_second: u64,
    memory_bytes: usize,
    /// What keys are hashed with.
    secret: (u64, u64),
    /// The errors that were said already.
    told: HashMap<PartitionId, String>,
    given_up: HashSet<PartitionId>,
}

/// A log that it is time to compact.
struct Due {
    id: PartitionId,
    log: Arc<Log>,
    dirty_millionths: u32,
}

impl Compaction {
    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        while pause(self.interval, &shutdown).await {
            let logs = usable_logs(&self.replicas);
            self.told
                .retain(|id, _| logs.iter().any(|(known, _)| known == id));
            for Due { id, log, .. } in self.due(logs).await {
                if shutdown.is_cancelled() {
                    break;
                }
                self.compact(id, log, &shutdown).await;
            }
        }
        Ok(())
    }

    /// The logs that it is time to compact, those with the largest dirty share first.
    async fn due(&mut self, mut logs: Vec<(PartitionId, Arc<Log>)>) -> Vec<Due> {
        logs.retain(|(id, _)| !self.given_up.contains(id));
        let now_ms = self.clock.now_ms();
        let looked = blocking(move || {
            let looks = logs.into_iter().map(|(id, log)| {
                let dirtiness = log.dirtiness(now_ms);
                (id, log, dirtiness)
            });
            looks.collect::<Vec<_>>()
        });
        let mut due = Vec::new();
        // An error would mean that the runtime is going away.
        for (id, log, dirtiness) in looked.await.unwrap_or_default() {
            match dirtiness {
                Ok(Some(dirtiness)) if dirtiness.is_due => due.push(Due {
                    id,
                    log,
                    dirty_millionths: dirtiness.dirty_millionths(),
                }),
                Ok(_) => {}
                Err(error) => self.tell(id, &error),
            }
        }
        due.sort_by_key(|due| Reverse(due.dirty_millionths));
        due
    }

    async fn compact(&mut self, id: PartitionId, log: Arc<Log>, shutdown: &CancellationToken) {
        let replicas = Arc::clone(&self.replicas);
        let pace = Pace {
            clock: Arc::clone(&self.clock),
            shutdown: shutdown.clone(),
            bytes_per_second: self.bytes_per_second as f64,
            appended_bytes: Box::new(move || replicas.appended_bytes()),
            state: Mutex::default(),
        };
        let (map_bytes, secret, now_ms) = (self.memory_bytes, self.secret, self.clock.now_ms());
        let began = self.clock.monotonic();
        let done = on_own_thread(move || {
            let options = CleanOptions {
                map_bytes,
                secret,
                pace: &pace,
            };
            log.clean(&options, now_ms)
        });
        match done.await {
            Some(Ok(report)) => {
                self.told.remove(&id);
                let took_ms = (self.clock.monotonic() - began).as_millis();
                tell_report(id, &report, took_ms);
            }
            Some(Err(error)) => self.tell(id, &error),
            None => {
                warn!(partition = %id, "a bug stopped the compaction of this partition, leaving it as it is until the SPU starts again");
                self.given_up.insert(id);
            }
        }
    }

    /// Says an error once.
    fn tell(&mut self, id: PartitionId, error: &MaintainError) {
        // A partition that was closed, or is out of use and has said so, needs no other word.
        if matches!(error, MaintainError::Closed | MaintainError::Failed { .. }) {
            return;
        }
        let text = describe(error);
        if self.told.insert(id, text.clone()).as_ref() != Some(&text) {
            warn!(partition = %id, error = text, "failed to compact, will try again");
        }
    }
}

fn describe(error: &MaintainError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

fn tell_report(id: PartitionId, report: &CleanReport, took_ms: u128) {
    info!(
        partition = %id,
        finished = report.finished,
        compacted_to = %report.first_dirty,
        passes = report.passes,
        read_bytes = report.read_bytes,
        replaced_segments = report.replaced_segments,
        replaced_bytes = report.replaced_bytes,
        written_bytes = report.written_bytes,
        superseded_records = report.superseded_records,
        removed_tombstones = report.removed_tombstones,
        keyless_records = report.keyless_records,
        unreadable_batches = report.unreadable_batches,
        took_ms,
        "compacted"
    );
}

/// `None` when the work panicked. A thread of its own, since its low priority stays with it.
async fn on_own_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (sender, receiver) = oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("log-cleaner".to_owned())
        .spawn(move || {
            // On Linux it concerns this thread alone. Without it the work is done all the same.
            let _ = rustix::process::setpriority_process(None, NICENESS);
            // Nobody waits any more when the SPU is shutting down.
            let _ = sender.send(work());
        });
    match spawned {
        Ok(_) => receiver.await.ok(),
        Err(error) => {
            warn!(%error, "failed to start a thread for compaction");
            None
        }
    }
}

/// Lets so many bytes through a second, fewer while there are appends, and none when it is time to
/// stop.
struct Pace {
    clock: Arc<dyn Clock>,
    shutdown: CancellationToken,
    bytes_per_second: f64,
    /// How many bytes were appended since some moment.
    appended_bytes: Box<dyn Fn() -> u64 + Send + Sync>,
    state: Mutex<PaceState>,
}

#[derive(Default)]
struct PaceState {
    /// The moment up to which what was spent takes the pace's time.
    paid_until: Duration,
    /// What goes through a second now; unknown before the first look.
    bytes_per_second: Option<f64>,
    looked_at: Duration,
    appended_bytes: u64,
}

impl CleanPace for Pace {
    fn spend(&self, bytes: u64) -> bool {
        let mut wait = self.pay(bytes);
        while !wait.is_zero() && !self.shutdown.is_cancelled() {
            let slice = wait.min(WAIT_MAX);
            std::thread::sleep(slice);
            wait -= slice;
        }
        !self.shutdown.is_cancelled()
    }
}

impl Pace {
    /// Notes what is spent, and says how long to wait for it.
    fn pay(&self, bytes: u64) -> Duration {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes_per_second = self.look(&mut state, now);
        let cost = Duration::from_secs_f64(bytes as f64 / bytes_per_second);
        // Time in which nothing was spent is lost, or a burst would follow it.
        state.paid_until = state.paid_until.max(now) + cost;
        let wait = state.paid_until.saturating_sub(now);
        if wait < WAIT_MIN {
            Duration::ZERO
        } else {
            wait
        }
    }

    /// What goes through a second now.
    fn look(&self, state: &mut PaceState, now: Duration) -> f64 {
        let since = now.saturating_sub(state.looked_at);
        if let Some(known) = state.bytes_per_second
            && since < LOOK_INTERVAL
        {
            return known;
        }
        let appended_bytes = (self.appended_bytes)();
        let (all, busy) = (self.bytes_per_second, self.bytes_per_second * BUSY_SHARE);
        let found = match (
            state.bytes_per_second,
            appended_bytes - state.appended_bytes,
        ) {
            // Nobody knows yet whether it would be in the way.
            (None, _) => busy,
            (Some(_), 0) => all,
            (Some(_), appended) => {
                let appended_per_second = appended as f64 / since.as_secs_f64();
                (2.0 * appended_per_second).clamp(busy, all)
            }
        };
        state.looked_at = now;
        state.appended_bytes = appended_bytes;
        *state.bytes_per_second.insert(found)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use thalweg_runtime::ManualClock;

    use super::*;

    /// A pace, and the counter of what is appended.
    fn pace(clock: &Arc<ManualClock>, bytes_per_second: f64) -> (Pace, Arc<AtomicU64>) {
        let clock: Arc<dyn Clock> = clock.clone();
        let appended = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&appended);
        let pace = Pace {
            clock,
            shutdown: CancellationToken::new(),
            bytes_per_second,
            appended_bytes: Box::new(move || counter.load(Ordering::Relaxed)),
            state: Mutex::default(),
        };
        (pace, appended)
    }

    #[test]
    fn what_is_spent_takes_its_time_and_idle_time_is_not_saved_up() {
        let clock = ManualClock::at(1000);
        let (pace, _) = pace(&clock, 1e6);
        pace.pay(0);
        clock.advance(LOOK_INTERVAL);

        assert_eq!(pace.pay(1000), Duration::ZERO, "too little to wait for");
        assert_eq!(pace.pay(9000), Duration::from_millis(10));
        clock.advance(Duration::from_millis(10));
        assert_eq!(pace.pay(1_000_000), Duration::from_secs(1));
        clock.advance(Duration::from_secs(100));
        assert_eq!(pace.pay(1_000_000), Duration::from_secs(1));
    }

    #[test]
    fn appends_slow_it_down_but_never_below_what_they_bring() {
        let clock = ManualClock::at(1000);
        let (pace, appended) = pace(&clock, 80e6);
        let second_of = |bytes: u64| pace.pay(bytes) == Duration::from_secs(1);
        let next_second = |bytes: u64| {
            appended.fetch_add(bytes, Ordering::Relaxed);
            clock.advance(Duration::from_secs(1));
        };

        assert!(second_of(10_000_000), "nobody knows yet");
        next_second(0);
        assert!(second_of(80_000_000), "nobody appends");
        next_second(1000);
        assert!(second_of(10_000_000), "a little is appended");
        next_second(20_000_000);
        assert!(second_of(40_000_000), "twice what is appended");
        next_second(1 << 40);
        assert!(second_of(80_000_000), "and no more than the whole");
    }

    #[test]
    fn it_stops_at_once_at_a_shutdown() {
        let (pace, _) = pace(&ManualClock::at(0), 1.0);
        pace.shutdown.cancel();

        assert!(!pace.spend(1 << 30));
    }

    #[tokio::test]
    async fn work_that_panics_is_no_end_of_the_spu() {
        assert_eq!(on_own_thread(|| 7).await, Some(7));
        assert_eq!(on_own_thread(|| -> u8 { panic!("on purpose") }).await, None);
    }
}
