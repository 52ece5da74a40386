//! The data protocol's server: Kafka's APIs and the stream extension over TCP.
//!
//! ```text
//! DataServer ── accepts ──▶ Connection ── reads frames ──▶ Request ──▶ one file per API ──▶ Answer
//!                               ▲                                                              │
//!                               └──────────────── writes answers in the order of requests ─────┘
//! ```
//!
//! Invariants:
//! - Answers leave a connection in the order in which its requests came.
//! - Produces are handed to the log in the order in which they came, without waiting for the
//!   acknowledgement of the one before.
//! - Memory is bounded whatever clients do: `memory::Memory` holds every byte of requests
//!   and of answers that are not files, and a connection reads no further while its answers are
//!   not taken.
//! - Records are neither parsed nor copied on their way from the socket to the log and from the
//!   file to the socket, unless the topic or the stream asks for it.

mod admin_error;
mod alter_configs;
mod answer;
mod api_versions;
mod connection;
mod create_partitions;
mod create_topics;
mod dead_letters;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_producers;
mod elect_leaders;
mod fetch;
mod groups;
mod init_producer_id;
mod internal_topics;
mod list_offsets;
mod memory;
mod metadata;
mod offset_for_leader_epoch;
mod produce;
mod reassignments;
mod refusal;
mod router;
mod server;
mod streams;
mod topic_chains;

pub(crate) use produce::LocalOutput;
pub use server::DataServer;
