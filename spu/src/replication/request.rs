//! What a follower asks its leader for. Pure.

use std::sync::Arc;
use std::time::Duration;

use thalweg_types::{CopyLife, Incarnation, Offset, SpuId, TopicName};
use thalweg_wire::StrBytes;
use thalweg_wire::messages::fetch_request::{FetchPartition, FetchTopic};
use thalweg_wire::messages::{BrokerId, FetchRequest, TopicName as WireTopicName};
use thalweg_wire::tags::{self, FollowerTag};

use crate::replica::{Follower, Standing};

/// The most that one partition gives in one answer, in bytes, so that each has its turn.
const PARTITION_BYTES: i32 = 1 << 20;

/// Who asks, and for how much.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    pub(super) spu: SpuId,
    pub(super) incarnation: Incarnation,
    /// Of all partitions together.
    pub(super) bytes_max: i32,
    /// How long the leader may wait for more.
    pub(super) wait: Duration,
}

/// One partition of a request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) follower: Arc<Follower>,
    pub(super) standing: Standing,
    /// From where on it needs records: the end of its log, or of what is being written to it.
    pub(super) from: Offset,
}

impl Asked {
    /// For what comes after a follower's log; `None` where nothing can be asked for.
    pub(super) fn after_log(follower: Arc<Follower>) -> Option<Self> {
        let standing = follower.standing()?;
        Some(Self {
            from: standing.log_end,
            follower,
            standing,
        })
    }
}

/// Which of the requests of a session one is; Kafka's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) id: i32,
    pub(super) epoch: i32,
}

impl Session {
    /// There is none.
    pub(super) const NONE: Self = Self { id: 0, epoch: -1 };
    /// One begins, with all that the request names.
    pub(super) const NEW: Self = Self { id: 0, epoch: 0 };
}

/// Asks for what comes after what the followers have, and what else is in the session.
pub(super) fn more(asker: Asker, session: Session, asked: &[Asked]) -> FetchRequest {
    let wait_ms = i32::try_from(asker.wait.as_millis()).unwrap_or(i32::MAX);
    fetch(asker, asked, PARTITION_BYTES)
        .with_session_id(session.id)
        .with_session_epoch(session.epoch)
        .with_max_wait_ms(wait_ms)
        .with_min_bytes(1)
        .with_max_bytes(asker.bytes_max)
}

/// Says how far the followers are, and asks for nothing.
pub(super) fn standing(asker: Asker, asked: &[Asked]) -> FetchRequest {
    fetch(asker, asked, 0)
}

fn fetch(asker: Asker, asked: &[Asked], partition_bytes: i32) -> FetchRequest {
    let mut topics: Vec<(TopicName, FetchTopic)> = Vec::new();
    for asked in asked {
        let partition = partition(asker, asked, partition_bytes);
        let name = &asked.follower.topic_partition().topic;
        match topics.last_mut() {
            Some((last, topic)) if last == name => topic.partitions.push(partition),
            _ => {
                let wire_name = WireTopicName(StrBytes::from_string(name.to_string()));
                let topic = FetchTopic::default()
                    .with_topic(wire_name)
                    .with_partitions(vec![partition]);
                topics.push((name.clone(), topic));
            }
        }
    }
    FetchRequest::default()
        .with_replica_id(BrokerId(asker.spu.0))
        .with_session_epoch(Session::NONE.epoch)
        .with_topics(topics.into_iter().map(|(_, topic)| topic).collect())
}

fn partition(asker: Asker, asked: &Asked, partition_bytes: i32) -> FetchPartition {
    let Asked {
        follower,
        standing,
        from,
    } = asked;
    let mut partition = FetchPartition::default()
        .with_partition(follower.topic_partition().partition.0)
        .with_current_leader_epoch(follower.leader_epoch().0)
        .with_fetch_offset(standing.log_end.0)
        .with_last_fetched_epoch(standing.last_epoch.0)
        .with_log_start_offset(standing.log_start.0)
        .with_partition_max_bytes(partition_bytes);
    tags::set_follower(
        &mut partition.unknown_tagged_fields,
        FollowerTag {
            topic: follower.id().topic,
            stable_end: standing.stable_end,
            life: CopyLife {
                process: asker.incarnation,
                copy: standing.copy,
            },
        },
    );
    if *from > standing.log_end {
        tags::set_read_ahead(&mut partition.unknown_tagged_fields, *from);
    }
    partition
}
