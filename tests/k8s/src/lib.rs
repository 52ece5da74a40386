//! What tests against a real Kubernetes stand on.
//!
//! `cargo xtask k8s` (simulated nodes) and `cargo xtask k8s-real` start an instance of
//! `tests/k8s/env`, say in variables where it is, run the tests, and take it down. Outside of them a
//! test is ignored, and says by what it is run: mark each with `#[ignore = ...]` as those beside are.
//!
//! All tests of a run share the instance, each in a [`Namespace`] of its own where Pod Security
//! `restricted` is enforced. A test that harms what others stand on (a node, the API server) asks for
//! [`Alone`], and runs while no other does.
#![forbid(unsafe_code)]

mod alone;
mod audit;
mod controllers;
mod identity;
mod instance;
mod kubectl;
mod namespace;

pub use alone::{Alone, Paused};
pub use audit::{AuditMark, AuditedRequest};
pub use controllers::Controllers;
pub use identity::Identity;
pub use instance::Instance;
pub use kubectl::Kubectl;
pub use namespace::Namespace;
pub use thalweg_tests_cluster::{eventually, eventually_within};
