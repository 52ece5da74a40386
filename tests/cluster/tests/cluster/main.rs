//! Cluster tests: real processes, killed, paused, restarted, starved and fed nonsense.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

use thalweg_tests_cluster::modules;

mod bad_bytes;
mod before_log;
mod chain_steps;
mod command_line;
mod compaction;
mod conformance;
mod crash;
mod disk;
mod elections;
mod flipped_bits;
mod group_commands;
mod groups;
mod log_start;
mod memory;
mod moves;
mod placement_apis;
mod projects;
mod readiness;
mod refill;
mod refusals;
mod registry;
mod replication;
mod restart;
mod settings;
mod smartmodules;
mod streams;
mod tls;
mod topic_chains;
mod transform_versions;
mod transforms;
mod workload;
