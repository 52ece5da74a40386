//! The settings of `thalweg-sc` that a `Cluster` may give.
//!
//! Each field becomes the environment variable of the same name: `spuTimeout` is `THALWEG_SC_SPU_TIMEOUT`.
//! What is left out is the program's default.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::DurationText;

/// The settings of `thalweg-sc`; what is left out is its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("duration(self.spuTimeout) >= duration(self.heartbeatInterval) + duration(self.heartbeatInterval)")
        .message("spuTimeout must be at least twice heartbeatInterval, or SPUs are given up between two heartbeats: raise one or lower the other")
)]
pub struct ScSettings {
    /// How often each SPU should say that it lives.
    #[serde(default = "ScSettings::default_heartbeat_interval")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('10ms') && duration(self) <= duration('1h')")
        .message("heartbeatInterval must be 10ms to 1h"))]
    pub heartbeat_interval: DurationText,

    /// How long an SPU may be silent before its partitions get other leaders.
    #[serde(default = "ScSettings::default_spu_timeout")]
    pub spu_timeout: DurationText,

    /// How many clients and SPUs may be connected to an SC at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub connections_max: Option<i32>,

    /// Partitions of the topic that keeps consumer groups. In force when that topic is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub offsets_topic_partitions: Option<i32>,

    /// The most replicas of the topic that keeps consumer groups. In force when that topic is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100))]
    pub offsets_topic_replication: Option<i32>,

    /// How often leaderships are given back to preferred replicas; `0s` for never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader_balance_interval: Option<DurationText>,

    /// Which log lines are written, for example `info` or `info,thalweg_sc=debug`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub log: Option<String>,
}

impl ScSettings {
    fn default_heartbeat_interval() -> DurationText {
        "500ms".into()
    }

    fn default_spu_timeout() -> DurationText {
        "2s".into()
    }
}

impl Default for ScSettings {
    fn default() -> Self {
        Self {
            heartbeat_interval: Self::default_heartbeat_interval(),
            spu_timeout: Self::default_spu_timeout(),
            connections_max: None,
            offsets_topic_partitions: None,
            offsets_topic_replication: None,
            leader_balance_interval: None,
            log: None,
        }
    }
}
