//! One SPU in this process, against an SC that does as the test says. One module per feature.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod assignment;
mod bad_input;
mod disk;
mod follower_session;
mod following;
mod harness;
mod kubelet;
mod metrics;
mod real_sc;
mod refill;
mod replication;
mod scripted_sc;
mod transforms;
mod upkeep;
mod without_sc;
