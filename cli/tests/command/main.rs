//! The `thalweg` command as a process: what it says, where, and which status it ends with.

mod local_cluster;
mod profiles;
mod real_cluster;
mod thalweg;
mod transforms;
mod usage;
