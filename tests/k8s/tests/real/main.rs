//! Against real nodes, whose containers run.
#![allow(
    clippy::unwrap_used,
    reason = "what a test's helper unwraps fails the test, as in the test itself"
)]

mod command;
mod guide;
mod harm;
mod home;
mod image;
mod nodes;
mod secure;
mod spu_pod;
mod stage;
