//! The settings of consumer groups.

use std::time::Duration;

use thalweg_types::parse_duration;

/// The settings of consumer groups.
#[derive(Debug, Clone, clap::Args)]
pub struct GroupOptions {
    /// The shortest session timeout that a group's member may ask for.
    #[arg(long = "group-session-timeout-min", env = "THALWEG_SPU_GROUP_SESSION_TIMEOUT_MIN", value_name = "DURATION", value_parser = parse_duration, default_value = "6s")]
    pub session_timeout_min: Duration,

    /// The longest session timeout that a group's member may ask for.
    #[arg(long = "group-session-timeout-max", env = "THALWEG_SPU_GROUP_SESSION_TIMEOUT_MAX", value_name = "DURATION", value_parser = parse_duration, default_value = "30m")]
    pub session_timeout_max: Duration,

    /// How long an empty group waits for more members after its first before it begins.
    #[arg(long = "group-initial-rebalance-delay", env = "THALWEG_SPU_GROUP_INITIAL_REBALANCE_DELAY", value_name = "DURATION", value_parser = parse_duration, default_value = "3s")]
    pub initial_rebalance_delay: Duration,

    /// The most members of a group.
    #[arg(
        long = "group-size-max",
        env = "THALWEG_SPU_GROUP_SIZE_MAX",
        value_name = "N",
        default_value_t = 1000
    )]
    pub size_max: usize,

    /// How long a member whose coordinator assigns its partitions may be silent.
    #[arg(long = "group-consumer-session-timeout", env = "THALWEG_SPU_GROUP_CONSUMER_SESSION_TIMEOUT", value_name = "DURATION", value_parser = parse_duration, default_value = "45s")]
    pub consumer_session_timeout: Duration,

    /// How often such a member should be heard, and so how soon it hears what it has to give up or gets.
    #[arg(long = "group-consumer-heartbeat-interval", env = "THALWEG_SPU_GROUP_CONSUMER_HEARTBEAT_INTERVAL", value_name = "DURATION", value_parser = parse_duration, default_value = "1s")]
    pub consumer_heartbeat_interval: Duration,

    /// How long committed offsets are kept once their group is empty.
    #[arg(long = "offsets-retention", env = "THALWEG_SPU_OFFSETS_RETENTION", value_name = "DURATION", value_parser = parse_duration, default_value = "7d")]
    pub offsets_retention: Duration,

    /// How often offsets and groups that have expired are looked for.
    #[arg(long = "offsets-check-interval", env = "THALWEG_SPU_OFFSETS_CHECK_INTERVAL", value_name = "DURATION", value_parser = parse_duration, default_value = "10m")]
    pub offsets_check_interval: Duration,
}
