//! Every transition of a namespace, as plans over what was observed.
//!
//! [`World`] stands in for Kubernetes' own controllers: what a plan says is carried out on it, and what they
//! would do of it (pods, claims, status) is done by hand.

mod certificates;
mod going;
mod restarts;
mod scaling;
mod taking_up;
mod world;
