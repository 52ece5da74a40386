//! Cluster tests: real processes, killed, paused, restarted, starved and fed nonsense.

mod crash;
mod disk;
mod hostile_modules;
mod memory;
mod refusals;
mod restart;
mod smartmodules;
mod workload;
