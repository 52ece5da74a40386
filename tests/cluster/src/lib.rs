//! Cluster tests: real processes, killed, restarted and cut.
