//! The SDK for writing SmartModules in Rust.
