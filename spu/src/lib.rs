//! The Streaming Processing Unit: keeps partitions, serves the data protocol, runs SmartModules.
