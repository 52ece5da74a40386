//! Against a real API server and its controllers, on simulated nodes. `admit_*` is what the API server
//! takes and refuses, `e2e_*` what a cluster comes to.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

mod admit_chart;
mod admit_clusters;
mod admit_environment;
mod admit_rows;
mod admit_settings;
mod admit_transforms;
mod e2e_controllers;
mod e2e_modules;
mod e2e_operator_changes;
mod e2e_operator_interrupted;
mod e2e_operator_reach;
mod e2e_operator_runs;
mod e2e_store;
mod e2e_transforms;
mod operator;
mod registry;
mod stage;
