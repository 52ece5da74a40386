//! The settings of `thalweg-spu` that an `SpuGroup` may give.
//!
//! Each field becomes the environment variable of the same name: `idleTimeout` is `THALWEG_SPU_IDLE_TIMEOUT`.
//! What is left out is the program's default. `handoverTimeout` has a default here, because the time that
//! a pod is given to end has to be longer.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::{BytesText, DurationText};

/// The settings of `thalweg-spu`; what is left out is its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpuSettings {
    /// How long a shutdown waits until others lead what the SPU leads.
    #[serde(default = "SpuSettings::default_handover_timeout")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('10m')")
        .message("handoverTimeout must be 10m at most: a pod that ends is given that long, and half a minute"))]
    pub handover_timeout: DurationText,

    /// Which log lines are written, for example `info` or `info,thalweg_spu=debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub log: Option<String>,

    /// Create a topic when a client asks for the metadata of one that does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_create_topics: Option<bool>,

    /// Partitions of a topic whose creator leaves the number open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub default_partitions: Option<i32>,

    /// Replicas of a topic whose creator leaves the number open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub default_replication: Option<i32>,

    /// Client connections at a time; more are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: Option<i32>,

    /// The largest request that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_bytes_max: Option<BytesText>,

    /// Memory for the requests and answers of all connections together; more wait their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_memory_bytes: Option<BytesText>,

    /// The most bytes of records in one fetch answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fetch_bytes_max: Option<BytesText>,

    /// How long a connection may be silent before it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<DurationText>,

    /// Threads that run SmartModules; 0 for one per core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1024))]
    pub guest_threads: Option<i32>,

    /// How long one call of a SmartModule may take of the processor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smartmodule_deadline: Option<DurationText>,

    /// Memory of one SmartModule's instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smartmodule_memory_bytes: Option<BytesText>,

    /// Memory of all SmartModules' instances together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smartmodule_shared_memory_bytes: Option<BytesText>,

    /// The most that one call of a SmartModule may answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smartmodule_output_bytes: Option<BytesText>,

    /// The largest SmartModule that is accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smartmodule_bytes_max: Option<BytesText>,

    /// How often old segments are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_interval: Option<DurationText>,

    /// How often compacted topics are looked at for old records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction_interval: Option<DurationText>,

    /// How long a follower may lag behind before it leaves the in-sync replicas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_lag_max: Option<DurationText>,

    /// How long a leader lets a follower wait for more records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_fetch_wait: Option<DurationText>,

    /// How many bytes a follower asks a leader for at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica_fetch_bytes: Option<BytesText>,

    /// How many bytes a second an SPU copies of what it is behind with while others produce to it; 0 for no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catch_up_bytes_per_second: Option<BytesText>,

    /// How many bytes a second compaction reads and writes while nobody appends; 0 compacts nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction_bytes_per_second: Option<BytesText>,

    /// Memory for the keys of one compaction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compaction_memory_bytes: Option<BytesText>,

    /// How many bytes a second are read back to find damage on the disk; 0 for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scrub_bytes_per_second: Option<BytesText>,

    /// The shortest session timeout that a consumer group's member may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_session_timeout_min: Option<DurationText>,

    /// The longest session timeout that a consumer group's member may ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_session_timeout_max: Option<DurationText>,

    /// How long an empty group waits for more members after its first before it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_initial_rebalance_delay: Option<DurationText>,

    /// The most members of a consumer group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub group_size_max: Option<i32>,

    /// How long a member whose coordinator assigns its partitions may be silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_consumer_session_timeout: Option<DurationText>,

    /// How often such a member should be heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_consumer_heartbeat_interval: Option<DurationText>,

    /// How long committed offsets are kept once their group is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets_retention: Option<DurationText>,

    /// How often offsets and groups that have expired are looked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offsets_check_interval: Option<DurationText>,
}

impl SpuSettings {
    fn default_handover_timeout() -> DurationText {
        "5s".into()
    }
}

impl Default for SpuSettings {
    fn default() -> Self {
        Self {
            handover_timeout: Self::default_handover_timeout(),
            log: None,
            auto_create_topics: None,
            default_partitions: None,
            default_replication: None,
            connections_max: None,
            request_bytes_max: None,
            request_memory_bytes: None,
            fetch_bytes_max: None,
            idle_timeout: None,
            guest_threads: None,
            smartmodule_deadline: None,
            smartmodule_memory_bytes: None,
            smartmodule_shared_memory_bytes: None,
            smartmodule_output_bytes: None,
            smartmodule_bytes_max: None,
            retention_interval: None,
            compaction_interval: None,
            replica_lag_max: None,
            replica_fetch_wait: None,
            replica_fetch_bytes: None,
            catch_up_bytes_per_second: None,
            compaction_bytes_per_second: None,
            compaction_memory_bytes: None,
            scrub_bytes_per_second: None,
            group_session_timeout_min: None,
            group_session_timeout_max: None,
            group_initial_rebalance_delay: None,
            group_size_max: None,
            group_consumer_session_timeout: None,
            group_consumer_heartbeat_interval: None,
            offsets_retention: None,
            offsets_check_interval: None,
        }
    }
}
