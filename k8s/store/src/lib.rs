//! The metadata store over custom resources.
