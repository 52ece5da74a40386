//! From messages to the vocabulary and back.
//!
//! Into the vocabulary by `TryFrom`, which checks; out of it by `From`, which can't fail. Each
//! takes its value apart field by field, so that a new field fails to compile until it is carried.

mod any;
mod capabilities;
mod chain;
mod field;
mod partition;
mod smart_module;
mod spu;
mod topic;
mod transform;
mod transform_report;
mod transform_revision;

pub use field::InvalidField;
