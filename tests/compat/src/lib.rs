//! Compatibility tests: real Kafka clients against a real cluster.
