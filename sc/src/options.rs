//! The SC's settings: a flag each, or an environment variable `THALWEG_SC_*`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use thalweg_runtime::net::tls::TlsOptions;
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
    #[arg(
        long,
        env = "THALWEG_SC_DATA_DIR",
        value_name = "DIR",
        required_unless_present = "kubernetes_namespace",
        conflicts_with = "kubernetes_namespace"
    )]
    pub data_dir: Option<PathBuf>,

    /// How it speaks TLS.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// Of an SC on Kubernetes.
    #[command(flatten)]
    pub kubernetes: KubernetesOptions,

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

/// The settings of an SC that keeps the resources as objects of a Kubernetes namespace.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "On Kubernetes")]
pub struct KubernetesOptions {
    /// Keep the cluster's resources as objects of this namespace, in the place of --data-dir. Several SCs may
    /// run: one leads, by a Lease.
    #[arg(
        long,
        env = "THALWEG_SC_KUBERNETES_NAMESPACE",
        value_name = "NAMESPACE"
    )]
    pub kubernetes_namespace: Option<String>,

    /// Who this SC is among the others, for example its pod's name.
    #[arg(
        long,
        env = "THALWEG_SC_IDENTITY",
        value_name = "NAME",
        default_value = "sc"
    )]
    pub identity: String,

    /// Where the other SCs reach this one; the address it listens on where not given.
    #[arg(long, env = "THALWEG_SC_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// Where `GET /livez`, `/readyz` and `/metrics` are answered; nowhere where not given.
    #[arg(long, env = "THALWEG_SC_HEALTH_LISTEN", value_name = "ADDR")]
    pub health_listen: Option<SocketAddr>,

    /// Folder of the Secrets (`kubernetes.io/dockerconfigjson`, a folder each) that open the registries of
    /// SmartModules.
    #[arg(long, env = "THALWEG_SC_REGISTRY_CREDENTIALS", value_name = "DIR")]
    pub registry_credentials: Option<PathBuf>,

    /// How long an SC that says nothing to the API server still leads; another one takes over after it.
    #[arg(long, env = "THALWEG_SC_LEASE_DURATION", value_name = "DURATION", value_parser = parse_duration, default_value = "3s")]
    pub lease_duration: Duration,
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
    /// There is nowhere to keep the resources.
    #[error("give --data-dir, or --kubernetes-namespace where this program can run on Kubernetes")]
    NoDataDir,
    /// Kubernetes keeps whole seconds.
    #[error("--lease-duration must be whole seconds from 2s to 60s, not {0:?}")]
    LeaseDuration(Duration),
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
        let lease = self.kubernetes.lease_duration;
        if lease.subsec_nanos() != 0 || !(2..=60).contains(&lease.as_secs()) {
            return Err(InvalidOptions::LeaseDuration(lease));
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
        assert!(matches!(
            parse(&["--lease-duration=2500ms"]),
            Err(InvalidOptions::LeaseDuration(_))
        ));
    }

    #[test]
    fn resources_are_kept_in_one_place() {
        let parse = |flags: &[&str]| {
            let flags = ["thalweg-sc"].iter().chain(flags);
            ScOptions::try_parse_from(flags).map(drop)
        };

        parse(&["--data-dir=d"]).unwrap();
        parse(&["--kubernetes-namespace=n"]).unwrap();
        assert!(parse(&[]).is_err());
        assert!(parse(&["--data-dir=d", "--kubernetes-namespace=n"]).is_err());
    }
}
