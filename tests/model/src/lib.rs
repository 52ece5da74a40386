//! The rules of replication, checked in every order of events for small bounds.
//!
//! One partition on three SPUs. The rules are the product's own files, compiled here: elections, changes
//! of the in-sync replicas, what a leader asks for, the high watermark, leader epochs and where logs
//! part. Around them [`Replication`] has what the product does by tasks, disks and connections: who
//! crashes, what is lost by it, who is taken for dead and lives on, and in which order all that is
//! heard of.
//!
//! A rule can be switched off ([`Rules`]), which must lead to a broken promise: so it is seen that the
//! model would find one.
#![forbid(unsafe_code)]

// rustfmt looks for the modules of these files in other places than the compiler does.
#[expect(dead_code, reason = "the file is the product's, which uses all of it")]
#[rustfmt::skip]
#[path = "../../../storage/src/checked_file.rs"]
mod checked_file;
#[rustfmt::skip]
#[path = "../../../spu/src/replica/divergence.rs"]
mod divergence;
#[expect(dead_code, reason = "the file is the product's, which uses all of it")]
#[rustfmt::skip]
#[path = "../../../sc/src/election.rs"]
mod election;
#[expect(dead_code, reason = "the file is the product's, which uses all of it")]
#[rustfmt::skip]
#[path = "../../../storage/src/epoch_cache.rs"]
mod epoch_cache;
#[expect(dead_code, reason = "the file is the product's, which uses all of it")]
#[rustfmt::skip]
#[path = "../../../spu/src/replica/followers.rs"]
mod followers;
#[rustfmt::skip]
#[path = "../../../spu/src/replica/high_watermark.rs"]
mod high_watermark;
#[rustfmt::skip]
#[path = "../../../sc/src/isr.rs"]
mod isr;

mod bounds;
mod controller;
mod promises;
mod replication;
mod spu;

pub use bounds::{Bounds, Crashes, Durability, Rules};
pub use replication::{Action, Replication, State};
