//! The simulation: a whole cluster and its clients in one process, on one thread, in simulated time, on
//! a simulated network and simulated disks. What happens follows from a seed, down to the last byte.
//!
//! ```text
//! seed --plan--> harm --cluster--> turmoil's hosts: SC, SPUs, clients --invariants--> what is broken
//! ```
//!
//! The programs' own code runs: the SC on a store in memory, SPUs on `disk` with `storage_work` in the
//! place of storage's threads and `guest_work` in that of the engine's, and the clients of `tests/nemesis`, whose checker has the last word. A run
//! has a process of its own, since some libraries count for all of a process.

mod client_hosts;
mod clock;
mod cluster;
mod disk;
mod faults;
mod guest_work;
mod invariants;
mod one_thread;
mod operator;
mod run;
mod sc_host;
mod spu_host;
mod storage_work;
mod trace;

pub use run::{Outcome, RunOptions, run};
