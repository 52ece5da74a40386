//! The servers that are measured, and the loads that drive them.

mod java;
mod kafka;
mod librdkafka;
mod nats;
mod thalweg;

use std::path::PathBuf;

pub(crate) use java::JavaTools;
pub(crate) use kafka::Kafka;
pub(crate) use librdkafka::Librdkafka;
pub(crate) use nats::Nats;
pub(crate) use thalweg::Thalweg;

/// When a server acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// From the page cache.
    Memory,
    /// After the sync.
    Fsync,
}

/// A SmartModule that passes nothing.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) module: PathBuf,
    /// Its parameters, each `KEY=VALUE`.
    pub(crate) params: Vec<String>,
}

/// How many records of which size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) records: u64,
    pub(crate) record_bytes: u64,
}

impl Load {
    /// The bytes of all values.
    pub(crate) fn bytes(self) -> u64 {
        self.records * self.record_bytes
    }
}

/// What one run found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) load: Load,
    /// How long the client took, acknowledgements included.
    pub(crate) seconds: f64,
    /// Processor time that the server used meanwhile.
    pub(crate) server_cpu_seconds: f64,
}

impl Run {
    pub(crate) fn megabytes_per_second(self) -> f64 {
        self.load.bytes() as f64 / 1e6 / self.seconds
    }

    pub(crate) fn records_per_second(self) -> f64 {
        self.load.records as f64 / self.seconds
    }

    pub(crate) fn cpu_seconds_per_gigabyte(self) -> f64 {
        self.server_cpu_seconds / (self.load.bytes() as f64 / 1e9)
    }
}

/// Latencies in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Latency {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}
