//! Against a real API server and its controllers, on simulated nodes. `admit_*` is what the API server
//! takes and refuses, `e2e_*` what a cluster comes to.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

mod admit_environment;
mod admit_rows;
mod e2e_controllers;
mod e2e_store;
