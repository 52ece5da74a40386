//! What every process needs around its work: clock, owned tasks, backoff, telemetry.
//!
//! Time and tasks come from here and not from the air, so that a test or a simulation can stand
//! in for them. Depends on nothing of ours.
#![forbid(unsafe_code)]

mod backoff;
mod blocking;
mod clock;
pub mod net;
mod task_group;
mod telemetry;

pub use backoff::{Backoff, BackoffOptions};
pub use blocking::blocking;
pub use clock::{Clock, ManualClock, SystemClock};
pub use task_group::{TaskFailed, TaskGroup};
pub use telemetry::{TelemetryError, init_telemetry};
pub use tokio_util::sync::CancellationToken;
