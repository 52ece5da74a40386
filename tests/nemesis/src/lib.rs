//! The nemesis: harm done to a cluster of real processes, and a checker of what its clients saw.
//!
//! ```text
//! seed --plan--> steps --inflict--> HarmedCluster <--calls-- clients --> History --check--> anomalies
//! ```
//!
//! A round has a cluster of its own: an SC and four SPUs, each in a network namespace, with topics
//! of both durabilities on all of them. Producers, consumers and askers for the logs' ends work while
//! processes are killed, paused and restarted, lines cut and slowed, disks filled, replicas moved and
//! logs trimmed. Then all is
//! healed, every replica must come back in sync, and everything is read back.
//!
//! The same seed does the same harm in the same order; what the processes make of it is theirs.
#![forbid(unsafe_code)]

pub mod checker;
pub mod clients;
pub mod copying;
mod faults;
mod harmed_cluster;
pub mod healed;
pub mod history;
mod inflict;
mod network;
mod round;
mod sandbox;
pub mod topics;
pub mod trim;

pub use faults::{SHORT_SEEDS, STEPS};
pub use round::{Outcome, RoundOptions, run_round};
pub use sandbox::{Reach, enter};
