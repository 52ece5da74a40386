//! The Streaming Controller: owns the topology and the life of the SPUs.
