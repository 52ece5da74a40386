//! The SC's settings: a flag each, or an environment variable `THALWEG_SC_*`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thalweg_types::parse_duration;

/// The settings of one SC. The flag wins over the environment, which wins over the default.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "thalweg-sc",
    version,
    about = "Thalweg's Streaming Controller: owns the topology and the life of the SPUs"
)]
pub struct ScOptions {
    /// Where clients and SPUs connect; port 0 takes a free one.
    #[arg(
        long,
        env = "THALWEG_SC_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9003"
    )]
    pub listen: SocketAddr,

    /// Where the cluster's resources are kept. It belongs to this SC alone.
    #[arg(long, env = "THALWEG_SC_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// How many clients and SPUs may be connected at a time.
    #[arg(
        long,
        env = "THALWEG_SC_CONNECTIONS_MAX",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        default_value_t = 1024
    )]
    pub connections_max: u32,

    /// Which log lines go to stderr.
    #[arg(
        long,
        env = "THALWEG_SC_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// How often each SPU should say that it lives.
    #[arg(long, env = "THALWEG_SC_HEARTBEAT_INTERVAL", value_name = "DURATION", value_parser = parse_duration, default_value = "500ms")]
    pub heartbeat_interval: Duration,

    /// How long an SPU may be silent before its partitions get other leaders; several heartbeat
    /// intervals.
    #[arg(long, env = "THALWEG_SC_SPU_TIMEOUT", value_name = "DURATION", value_parser = parse_duration, default_value = "2s")]
    pub spu_timeout: Duration,

    /// Partitions of the topic that keeps consumer groups. In force when that topic is made, which
    /// is when a client first looks for a group; it can't be changed later.
    #[arg(long, env = "THALWEG_SC_OFFSETS_TOPIC_PARTITIONS", value_name = "N", value_parser = clap::value_parser!(i32).range(1..=1000), default_value_t = 16)]
    pub offsets_topic_partitions: i32,

    /// The most replicas of the topic that keeps consumer groups; fewer where there are fewer SPUs
    /// when it is made.
    #[arg(long, env = "THALWEG_SC_OFFSETS_TOPIC_REPLICATION", value_name = "N", value_parser = clap::value_parser!(u16).range(1..), default_value_t = 3)]
    pub offsets_topic_replication: u16,

    /// How often leaderships are given back to preferred replicas (the first of a partition), which
    /// happens once one could have led at two such looks; 0 for never.
    #[arg(long, env = "THALWEG_SC_LEADER_BALANCE_INTERVAL", value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub leader_balance_interval: Duration,
}

/// Settings that can't go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// No SPU could be heard in time.
    #[error(
        "--spu-timeout {timeout:?} must be at least twice --heartbeat-interval {interval:?}, or SPUs are given up between two heartbeats"
    )]
    TimeoutTooShort {
        /// The timeout as given.
        timeout: Duration,
        /// The interval as given.
        interval: Duration,
    },
    /// SPUs would send without pause.
    #[error("--heartbeat-interval must be 10ms to 1h, not {0:?}")]
    Interval(Duration),
}

impl ScOptions {
    /// How often leaderships are given back; `None` for never.
    #[must_use]
    pub fn leader_balance_interval(&self) -> Option<Duration> {
        Some(self.leader_balance_interval).filter(|pause| !pause.is_zero())
    }

    /// Checks what the parser of one flag can't.
    ///
    /// # Errors
    /// When two settings contradict each other.
    pub fn check(&self) -> Result<(), InvalidOptions> {
        let interval = self.heartbeat_interval;
        if !(Duration::from_millis(10)..=Duration::from_secs(3600)).contains(&interval) {
            return Err(InvalidOptions::Interval(interval));
        }
        if self.spu_timeout < interval * 2 {
            return Err(InvalidOptions::TimeoutTooShort {
                timeout: self.spu_timeout,
                interval,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[test]
    fn a_timeout_that_heartbeats_cannot_meet_is_refused() {
        let parse = |more: &[&str]| {
            let flags = ["thalweg-sc", "--data-dir=d"];
            ScOptions::parse_from(flags.iter().chain(more)).check()
        };

        assert_eq!(parse(&[]), Ok(()));
        assert!(matches!(
            parse(&["--spu-timeout=600ms"]),
            Err(InvalidOptions::TimeoutTooShort { .. })
        ));
        assert!(matches!(
            parse(&["--heartbeat-interval=1ms"]),
            Err(InvalidOptions::Interval(_))
        ));
    }
}
