//! A cluster on this machine: one SC and some SPUs as processes of their own, in one directory.
//!
//! ```text
//! <data-dir>/cluster.json          what runs where: ports, pids (`state`)
//! <data-dir>/cluster.lock          held while a command changes the above
//! <data-dir>/sc/, sc.log           the controller's data and log
//! <data-dir>/spu-0/, spu-0.log     an SPU's
//! ```
//!
//! The servers outlive the command that starts them: each leads its own session (`detach`), and
//! is found again by its pid and start time (`process`), so that a pid that has meanwhile gone to
//! another program is never signalled.

pub(crate) mod detach;
mod launch;
mod process;
mod starting;
mod state;
mod stopping;

pub(crate) use starting::{StartOptions, start};
pub(crate) use state::{LocalCluster, Server};
pub(crate) use stopping::{Stopped, delete, stop};
