//! The task that finds SPUs which have gone silent. Its end stops nothing else.

use std::convert::Infallible;
use std::sync::Arc;

use thalweg_runtime::TaskGroup;
use tokio::time::{MissedTickBehavior, interval};

use super::Members;

/// Starts the failure detector.
pub(crate) fn spawn_failure_detector(members: Arc<Members>, tasks: &TaskGroup) {
    tasks.spawn("failure-detector", |shutdown| async move {
        // Twice per heartbeat: what is late is noticed half a heartbeat later at most.
        let mut looks = interval(members.options().heartbeat_interval / 2);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                _ = looks.tick() => {}
            }
            members.look_for_silent().await;
        }
    });
}
