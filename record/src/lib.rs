//! The Kafka v2 record batch: the one format of Thalweg's records on the wire, on disk and in front of SmartModules.
