//! The data protocol: Kafka framing and messages, and the stream extension.
