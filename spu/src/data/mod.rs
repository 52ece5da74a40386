//! The data protocol: what clients and other SPUs say to this one.
