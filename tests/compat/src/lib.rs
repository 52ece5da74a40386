//! Foreign toolchains and the Kafka clients that they bring.
//!
//! Each client is prepared once under `target/compat`. Where its toolchain can't be had its test is
//! skipped with a line that says so, and with `CI` set it fails instead: nothing may be skipped
//! there.
#![forbid(unsafe_code)]

mod toolchain;

pub use toolchain::{ClientProgram, Unavailable, franz_go, java, kcat, librdkafka};
