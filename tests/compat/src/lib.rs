//! Foreign toolchains: the Kafka clients that they bring, and the SmartModules that they build.
//!
//! Each is prepared under `target/compat`. Where its toolchain can't be had its test is
//! skipped with a line that says so, and with `CI` set it fails instead: nothing may be skipped
//! there.
#![forbid(unsafe_code)]

mod languages;
mod member;
mod toolchain;

pub use languages::{assemblyscript_module, c_module, go_module};
pub use member::GroupMember;
pub use toolchain::{ClientProgram, Unavailable, franz_go, java, kcat, librdkafka, python_members};
