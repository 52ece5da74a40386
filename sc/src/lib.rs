//! The Streaming Controller: owns the topology and the life of the SPUs.
//!
//! Rules are pure: [`placement`] says where replicas go, `moves` how they get elsewhere, [`rebalance`]
//! which should, [`election`] who leads, `state::plan` what must be written so that what is stored
//! becomes what is wanted. `state::Controller` feeds them
//! and writes what they say; `api` (clients) and `control` (SPUs) are the two edges.
//! `kubernetes` runs an SC that is one of several. Offsets and
//! records never come here, but for those of `modules`: the bytes of registered SmartModules.
#![forbid(unsafe_code)]

mod api;
mod connections;
mod control;
pub mod election;
mod isr;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod modules;
mod moves;
mod options;
pub mod placement;
pub mod rebalance;
mod server;
mod state;
mod transforms;

#[cfg(feature = "kubernetes")]
pub use kubernetes::serve_on_kubernetes;
pub use options::{KubernetesOptions, ScOptions};
pub use server::{Sc, StartError};
