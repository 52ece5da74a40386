//! Resources with spec and status, and the store that keeps them by compare-and-set.
