//! What logs need from time to time: retention, rolling by age, checkpoints, a look for followers that
//! lag, and a paced check of the bytes on the disk.
//!
//! One task for each. They work on blocking threads, one log after the other, and never stop: an
//! error concerns one log, is logged, and the log is looked at again next time. A log that failed
//! or was quarantined has said so once, and is left alone until it is opened again.

use std::cmp::Reverse;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::Duration;

use thalweg_runtime::{CancellationToken, Clock, TaskGroup, blocking};
use thalweg_storage::Log;
use thalweg_types::PartitionId;
use tracing::warn;

use crate::options::SpuOptions;
use crate::replica::ReplicaSet;

/// How often high watermarks are written down, full disks tried again and health looked at.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// How many logs a blocking thread looks at before it is given back.
const LOGS_AT_ONCE: usize = 64;
/// How often lagging followers are looked for in the time that they may lag.
const LOOKS_PER_LAG: u32 = 10;
/// Looking for them more often than this would be all that is done.
const LAG_INTERVAL_MIN: Duration = Duration::from_millis(10);
/// How often the scrub reads on. Each time it reads this part of a second's budget.
const SCRUB_INTERVAL: Duration = Duration::from_millis(500);

/// Starts the tasks.
pub(crate) fn spawn(
    replicas: &Arc<ReplicaSet>,
    clock: &Arc<dyn Clock>,
    options: &SpuOptions,
    tasks: &TaskGroup,
) {
    let retention = Upkeep {
        replicas: Arc::clone(replicas),
        interval: options.retention_interval,
    };
    let now = Arc::clone(clock);
    tasks.spawn("retention", move |shutdown| {
        retention.run(shutdown, move |id, log| keep_within_limits(id, log, &*now))
    });

    let checkpoint = Upkeep {
        replicas: Arc::clone(replicas),
        interval: CHECKPOINT_INTERVAL,
    };
    tasks.spawn("checkpoint", move |shutdown| {
        checkpoint.run(shutdown, |id, log| {
            if let Err(error) = log.checkpoint() {
                warn!(partition = %id, %error, "failed to write down the high watermark");
            }
            log.probe_room();
        })
    });

    let led = Arc::clone(replicas);
    let every = (options.replica_lag_max / LOOKS_PER_LAG).max(LAG_INTERVAL_MIN);
    tasks.spawn("follower-lag", move |shutdown| async move {
        while pause(every, &shutdown).await {
            led.check_followers();
        }
        Ok::<_, Infallible>(())
    });

    let watched = Arc::clone(replicas);
    tasks.spawn("replica-health", |shutdown| watch_health(watched, shutdown));

    let scrubbed = Arc::clone(replicas);
    let budget_bytes = budget_per_turn(options.scrub_bytes_per_second);
    if budget_bytes > 0 {
        tasks.spawn("scrub", move |shutdown| {
            scrub(scrubbed, budget_bytes, shutdown)
        });
    }
}

/// Does something to every log, again and again.
struct Upkeep {
    replicas: Arc<ReplicaSet>,
    interval: Duration,
}

impl Upkeep {
    async fn run(
        self,
        shutdown: CancellationToken,
        work: impl Fn(PartitionId, &Arc<Log>) + Send + Sync + 'static,
    ) -> Result<(), Infallible> {
        let work = Arc::new(work);
        while pause(self.interval, &shutdown).await {
            for logs in usable_logs(&self.replicas).chunks(LOGS_AT_ONCE) {
                let (work, logs, shutdown) = (Arc::clone(&work), logs.to_vec(), shutdown.clone());
                on_blocking_thread(move || {
                    for (id, log) in logs {
                        if !shutdown.is_cancelled() {
                            alone(|| work(id, &log));
                        }
                    }
                })
                .await;
            }
        }
        Ok(())
    }
}

/// A panic, which the process has logged, costs one log its turn and not the others.
fn alone(work: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(work));
}

pub(crate) fn usable_logs(replicas: &ReplicaSet) -> Vec<(PartitionId, Arc<Log>)> {
    let mut logs = replicas.logs();
    logs.retain(|(_, log)| !log.health().is_final());
    logs
}

fn keep_within_limits(id: PartitionId, log: &Arc<Log>, clock: &dyn Clock) {
    let now_ms = clock.now_ms();
    if let Err(error) = log.roll_if_old(now_ms) {
        warn!(partition = %id, %error, "failed to close an old segment");
    }
    if let Err(error) = log.apply_retention(now_ms) {
        warn!(partition = %id, %error, "failed to remove old segments");
    }
}

async fn watch_health(
    replicas: Arc<ReplicaSet>,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    while pause(CHECKPOINT_INTERVAL, &shutdown).await {
        replicas.retry_failed();
        replicas.report_health();
    }
    Ok(())
}

/// Reads the logs back at a steady pace, one after the other in the order of their ids, for ever.
async fn scrub(
    replicas: Arc<ReplicaSet>,
    budget_bytes: u64,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let mut left: Vec<(PartitionId, Weak<Log>)> = Vec::new();
    while pause(SCRUB_INTERVAL, &shutdown).await {
        if left.is_empty() {
            left.extend(
                usable_logs(&replicas)
                    .iter()
                    .map(|(id, log)| (*id, Arc::downgrade(log))),
            );
            left.sort_unstable_by_key(|(id, _)| Reverse(*id));
        }
        let next = std::iter::from_fn(|| left.pop()).find_map(|(id, log)| {
            let log = log.upgrade().filter(|log| !log.health().is_final());
            Some((id, log?))
        });
        let Some((id, log)) = next else {
            continue;
        };
        let same = (id, Arc::downgrade(&log));
        let done = on_blocking_thread(move || scrub_log(id, &log, budget_bytes)).await;
        if !done.unwrap_or(true) {
            left.push(same);
        }
    }
    Ok(())
}

/// Checks the next bytes of one log; whether the scrub should go on to the next one.
fn scrub_log(id: PartitionId, log: &Log, budget_bytes: u64) -> bool {
    match log.scrub(budget_bytes) {
        Ok(progress) => progress.finished || progress.damaged_at.is_some(),
        Err(error) => {
            warn!(partition = %id, %error, "failed to check the bytes on the disk");
            true
        }
    }
}

fn budget_per_turn(bytes_per_second: u64) -> u64 {
    let interval_ms = u64::try_from(SCRUB_INTERVAL.as_millis()).expect("half a second fits");
    bytes_per_second.saturating_mul(interval_ms) / 1000
}

/// Waits; `false` when it is time to stop.
pub(crate) async fn pause(interval: Duration, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        () = shutdown.cancelled() => false,
        () = tokio::time::sleep(interval) => true,
    }
}

/// `None` only when the work panicked or the runtime is going away.
async fn on_blocking_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    blocking(work).await.ok()
}
