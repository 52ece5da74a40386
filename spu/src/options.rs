//! The SPU's settings: a flag each, or an environment variable `THALWEG_SPU_*`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use thalweg_runtime::net::tls::TlsOptions;
use thalweg_smartengine::CallLimits;
use thalweg_types::{SpuId, parse_bytes, parse_duration};

use crate::groups::GroupOptions;

/// The settings of one SPU. The flag wins over the environment, which wins over the default.
#[derive(Debug, Clone, clap::Parser)]
#[command(
    name = "thalweg-spu",
    version,
    about = "Thalweg's Streaming Processing Unit: keeps partitions and serves produce and consume"
)]
pub struct SpuOptions {
    /// This SPU's number in the cluster.
    #[arg(long, env = "THALWEG_SPU_ID", value_name = "N", value_parser = parse_spu_id)]
    pub id: SpuId,

    /// Is added to `--id`, where that counts from 0 among some of the cluster's SPUs, as the pods of a
    /// StatefulSet do.
    #[arg(long, env = "THALWEG_SPU_ID_BASE", value_name = "N", value_parser = parse_spu_id, default_value = "0")]
    pub id_base: SpuId,

    /// Where the SC listens.
    #[arg(long, env = "THALWEG_SPU_SC", value_name = "HOST:PORT")]
    pub sc: String,

    /// Where clients connect; port 0 takes a free one.
    #[arg(
        long,
        env = "THALWEG_SPU_LISTEN",
        value_name = "ADDR",
        default_value = "127.0.0.1:9092"
    )]
    pub listen: SocketAddr,

    /// How clients reach this SPU; the address it listens on where not given.
    #[arg(long, env = "THALWEG_SPU_ADVERTISE", value_name = "HOST:PORT")]
    pub advertise: Option<String>,

    /// A file that says how clients reach this SPU: HOST:PORT, or :PORT for a port of `--host-ip`. It is
    /// waited for, and followed when it changes.
    #[arg(
        long,
        env = "THALWEG_SPU_ADVERTISE_FILE",
        value_name = "FILE",
        conflicts_with = "advertise"
    )]
    pub advertise_file: Option<PathBuf>,

    /// Where the machine is reached, for an `--advertise-file` that says a port alone.
    #[arg(long, env = "THALWEG_SPU_HOST_IP", value_name = "IP")]
    pub host_ip: Option<IpAddr>,

    /// Where Prometheus fetches metrics, by `GET /metrics`, and where `GET /startupz`, `/livez` and
    /// `/readyz` say how this SPU fares; nowhere where not given. Port 0 takes a free one.
    #[arg(long, env = "THALWEG_SPU_METRICS_LISTEN", value_name = "ADDR")]
    pub metrics_listen: Option<SocketAddr>,

    /// How it speaks TLS.
    #[command(flatten)]
    pub tls: TlsOptions,

    /// Where partitions are kept. It belongs to this SPU alone.
    #[arg(long, env = "THALWEG_SPU_DATA_DIR", value_name = "DIR")]
    pub data_dir: PathBuf,

    /// Where this SPU stands, for keeping replicas apart.
    #[arg(long, env = "THALWEG_SPU_RACK", default_value = "")]
    pub rack: String,

    /// A file that says where this SPU stands. It is waited for, and may be empty.
    #[arg(
        long,
        env = "THALWEG_SPU_RACK_FILE",
        value_name = "FILE",
        conflicts_with = "rack"
    )]
    pub rack_file: Option<PathBuf>,

    /// Which log lines go to stderr.
    #[arg(
        long,
        env = "THALWEG_SPU_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    pub log: String,

    /// Create a topic when a client asks for the metadata of one that does not exist.
    #[arg(long, env = "THALWEG_SPU_AUTO_CREATE_TOPICS")]
    pub auto_create_topics: bool,

    /// Partitions of a topic whose creator leaves the number open.
    #[arg(long, env = "THALWEG_SPU_DEFAULT_PARTITIONS", default_value_t = 1)]
    pub default_partitions: i32,

    /// Replicas of a topic whose creator leaves the number open.
    #[arg(long, env = "THALWEG_SPU_DEFAULT_REPLICATION", default_value_t = 1)]
    pub default_replication: i32,

    /// Client connections at a time; more are refused.
    #[arg(long, env = "THALWEG_SPU_CONNECTIONS_MAX", default_value_t = 4096)]
    pub connections_max: usize,

    /// The largest request that is accepted.
    #[arg(long, env = "THALWEG_SPU_REQUEST_BYTES_MAX", value_parser = parse_bytes, default_value = "100MiB")]
    pub request_bytes_max: u64,

    /// Memory for the requests and answers of all connections together; more wait their turn.
    #[arg(long, env = "THALWEG_SPU_REQUEST_MEMORY_BYTES", value_parser = parse_bytes, default_value = "128MiB")]
    pub request_memory_bytes: u64,

    /// The most bytes of records in one fetch answer.
    #[arg(long, env = "THALWEG_SPU_FETCH_BYTES_MAX", value_parser = parse_bytes, default_value = "55MiB")]
    pub fetch_bytes_max: u64,

    /// How long a connection may be silent before it is closed.
    #[arg(long, env = "THALWEG_SPU_IDLE_TIMEOUT", value_parser = parse_duration, default_value = "10m")]
    pub idle_timeout: Duration,

    /// Threads that run SmartModules; 0 for one per core.
    #[arg(long, env = "THALWEG_SPU_GUEST_THREADS", default_value_t = 0)]
    pub guest_threads: usize,

    /// How long one call of a SmartModule may take of the processor. It may be ten times as long by the
    /// clock where others take the processor from it.
    #[arg(long, env = "THALWEG_SPU_SMARTMODULE_DEADLINE", value_parser = parse_duration, default_value = "1s")]
    pub smartmodule_deadline: Duration,

    /// Memory of one SmartModule's instance.
    #[arg(long, env = "THALWEG_SPU_SMARTMODULE_MEMORY_BYTES", value_parser = parse_bytes, default_value = "64MiB")]
    pub smartmodule_memory_bytes: u64,

    /// Memory of all SmartModules' instances together.
    #[arg(long, env = "THALWEG_SPU_SMARTMODULE_SHARED_MEMORY_BYTES", value_parser = parse_bytes, default_value = "1GiB")]
    pub smartmodule_shared_memory_bytes: u64,

    /// The most that one call of a SmartModule may answer.
    #[arg(long, env = "THALWEG_SPU_SMARTMODULE_OUTPUT_BYTES", value_parser = parse_bytes, default_value = "32MiB")]
    pub smartmodule_output_bytes: u64,

    /// The largest SmartModule that is accepted.
    #[arg(long, env = "THALWEG_SPU_SMARTMODULE_BYTES_MAX", value_parser = parse_bytes, default_value = "8MiB")]
    pub smartmodule_bytes_max: u64,

    /// Where the secrets are that requests of transforms may carry, each in a file of its name, read for each request;
    /// none where not given.
    #[arg(long, env = "THALWEG_SPU_SECRETS_DIR", value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,

    /// Certificates of whom requests of transforms by HTTPS trust, besides those that this machine trusts.
    #[arg(long, env = "THALWEG_SPU_HTTP_CA", value_name = "FILE")]
    pub http_ca: Option<PathBuf>,

    /// How often old segments are looked for.
    #[arg(long, env = "THALWEG_SPU_RETENTION_INTERVAL", value_parser = parse_duration, default_value = "30s")]
    pub retention_interval: Duration,

    /// How often compacted topics are looked at for old records.
    #[arg(long, env = "THALWEG_SPU_COMPACTION_INTERVAL", value_parser = parse_duration, default_value = "15s")]
    pub compaction_interval: Duration,

    /// How long a follower may lag behind before it leaves the in-sync replicas, and producers wait
    /// for it no longer. One whose process ends leaves as soon as the SC notices.
    #[arg(long, env = "THALWEG_SPU_REPLICA_LAG_MAX", value_name = "DURATION", value_parser = parse_duration, default_value = "10s")]
    pub replica_lag_max: Duration,

    /// How long a shutdown waits until others lead what this SPU leads. It serves on meanwhile.
    #[arg(long, env = "THALWEG_SPU_HANDOVER_TIMEOUT", value_name = "DURATION", value_parser = parse_duration, default_value = "5s")]
    pub handover_timeout: Duration,

    /// How long a leader lets a follower wait for more records.
    #[arg(long, env = "THALWEG_SPU_REPLICA_FETCH_WAIT", value_name = "DURATION", value_parser = parse_duration, default_value = "500ms")]
    pub replica_fetch_wait: Duration,

    /// How many bytes a follower asks a leader for at a time, all partitions together.
    #[arg(long, env = "THALWEG_SPU_REPLICA_FETCH_BYTES", value_name = "BYTES", value_parser = parse_bytes, default_value = "8MiB")]
    pub replica_fetch_bytes: u64,

    /// How many bytes a second this SPU copies of what it is behind with, from all leaders together,
    /// while something is produced to it or copied of what it is in sync with; 0 for no bound. With
    /// nothing of the kind for a second it copies as fast as it can. It has to be more than is produced
    /// to those partitions, or they are not caught up before that pauses.
    #[arg(long, env = "THALWEG_SPU_CATCH_UP_BYTES_PER_SECOND", value_name = "BYTES", value_parser = parse_bytes, default_value = "0")]
    pub catch_up_bytes_per_second: u64,

    /// How many bytes a second compaction reads and writes while nobody appends; 0 compacts nothing.
    /// Else it is an eighth, or twice what is appended where that is more.
    #[arg(long, env = "THALWEG_SPU_COMPACTION_BYTES_PER_SECOND", value_parser = parse_bytes, default_value = "200MB")]
    pub compaction_bytes_per_second: u64,

    /// Memory for the keys of one compaction, 48 bytes a key at most; with too little it takes
    /// several passes over the log.
    #[arg(long, env = "THALWEG_SPU_COMPACTION_MEMORY_BYTES", value_parser = parse_bytes, default_value = "64MiB")]
    pub compaction_memory_bytes: u64,

    /// How many bytes a second are read back to find damage on the disk; 0 for none.
    #[arg(long, env = "THALWEG_SPU_SCRUB_BYTES_PER_SECOND", value_parser = parse_bytes, default_value = "4MiB")]
    pub scrub_bytes_per_second: u64,

    /// Of consumer groups.
    #[command(flatten)]
    pub groups: GroupOptions,
}

impl SpuOptions {
    /// The bounds of a call of a SmartModule.
    pub(crate) fn call_limits(&self) -> CallLimits {
        CallLimits {
            deadline: self.smartmodule_deadline,
            memory_bytes: self.smartmodule_memory_bytes,
            output_bytes: usize::try_from(self.smartmodule_output_bytes).unwrap_or(usize::MAX),
            ..CallLimits::default()
        }
    }

    /// This SPU's number with all that is added to it; `None` where that is more than a number may be.
    #[must_use]
    pub fn spu_id(&self) -> Option<SpuId> {
        self.id.0.checked_add(self.id_base.0).map(SpuId)
    }
}

fn parse_spu_id(text: &str) -> Result<SpuId, String> {
    match text.parse() {
        Ok(SpuId(id)) if id >= 0 => Ok(SpuId(id)),
        _ => Err("it must be 0 or a positive number".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;

    #[test]
    fn the_flags_fit_together() {
        SpuOptions::command().debug_assert();
    }

    #[test]
    fn only_id_sc_and_data_dir_must_be_given() {
        let options =
            SpuOptions::parse_from(["thalweg-spu", "--id=3", "--sc=sc:9003", "--data-dir=d"]);

        assert_eq!(options.id, SpuId(3));
        assert_eq!(options.request_bytes_max, 100 << 20);
        assert_eq!(options.smartmodule_deadline, Duration::from_secs(1));
    }

    #[test]
    fn an_id_counts_from_its_base() {
        let spu = |id, base: i32| {
            let options = SpuOptions::parse_from([
                "thalweg-spu",
                &format!("--id={id}"),
                &format!("--id-base={base}"),
                "--sc=a:1",
                "--data-dir=d",
            ]);
            options.spu_id()
        };

        assert_eq!(spu(2, 100), Some(SpuId(102)));
        assert_eq!(spu(1, i32::MAX), None);
    }

    #[test]
    fn an_address_and_a_rack_come_from_a_flag_or_from_a_file() {
        let with = |flags: [&str; 2]| {
            let needed = ["thalweg-spu", "--id=1", "--sc=a:1", "--data-dir=d"];
            SpuOptions::try_parse_from(needed.into_iter().chain(flags))
        };

        assert!(with(["--advertise=a:1", "--advertise-file=f"]).is_err());
        assert!(with(["--rack=r", "--rack-file=f"]).is_err());
        assert!(with(["--rack-file=f", "--advertise-file=f"]).is_ok());
    }

    #[test]
    fn a_negative_id_is_refused() {
        let result =
            SpuOptions::try_parse_from(["thalweg-spu", "--id=-1", "--sc=a:1", "--data-dir=d"]);

        assert!(result.is_err());
    }
}
