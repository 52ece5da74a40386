//! The data protocol of one SPU in this process, spoken to byte by byte. One module per feature.
#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

mod admin;
mod before_log;
mod bounds;
mod client;
mod compaction;
mod dead_letters;
mod failed_records;
mod fetch;
mod group_offsets;
mod groups;
#[path = "../component/harness.rs"]
#[expect(
    dead_code,
    reason = "shared with the component tests, which use more of it"
)]
mod harness;
mod keyed;
mod look_back;
mod module_metrics;
mod offsets;
mod produce;
mod protocol;
#[path = "../component/scripted_sc.rs"]
#[expect(
    dead_code,
    reason = "shared with the component tests, which use more of it"
)]
mod scripted_sc;
mod setup;
mod streams;
mod topic_chains;
mod topic_dedup;
mod transform_calls;
mod transform_poison;
mod transform_state;
mod transforms;
