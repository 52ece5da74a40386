//! What is forgotten by itself: offsets that nobody came back for, offsets of topics that are gone,
//! and groups that nothing is left of.

use thalweg_types::TopicName;

use super::{Group, Moment, ShardState, Then, TopicIsThere, Write, tombstones};
use crate::groups::GroupId;
use crate::groups::classic::GroupState;
use crate::groups::offsets::{CommittedOffset, Partition};
use crate::groups::records::GroupRecord;

/// How many tombstones are written in one go.
const TOMBSTONES_MAX: usize = 1000;

impl ShardState {
    /// Forgets offsets that have expired, and empty groups without offsets.
    pub(super) fn expire(&self, now: Moment) -> Vec<Write> {
        let retention = self.options.offsets_retention.as_millis();
        let retention_ms = i64::try_from(retention).unwrap_or(i64::MAX);
        let mut out = Vec::new();
        for (id, group) in &self.groups {
            let oldest_ms = now.ms.saturating_sub(retention_ms);
            let expired = group.expired(oldest_ms);
            let is_last = group.offsets.iter().count() == expired.len();
            forget(id, expired, &mut out);
            if is_last && group.classic.is_idle() && group.classic.has_had_members() {
                out.push(Write {
                    records: vec![GroupRecord::Classic {
                        group: id.clone(),
                        stored: None,
                    }],
                    then: Then::Nothing,
                });
            }
        }
        out
    }

    /// Forgets the offsets of topics that are gone.
    pub(in crate::groups) fn forget_topics(&self, is_there: TopicIsThere<'_>) -> Vec<Write> {
        let mut out = Vec::new();
        for (id, group) in &self.groups {
            let is_gone =
                |topic: &TopicName, committed: &CommittedOffset| !is_there(topic, committed.topic);
            forget(id, group.offsets.partitions_where(is_gone), &mut out);
        }
        out
    }
}

impl Group {
    /// The offsets that were committed before `oldest_ms` and that nobody uses. Those of a group
    /// whose members have gone count from when the last one went (KIP-211).
    fn expired(&self, oldest_ms: i64) -> Vec<Partition> {
        let classic = &self.classic;
        match classic.state() {
            GroupState::Empty => {
                if classic.has_had_members() && classic.state_since_ms() > oldest_ms {
                    return Vec::new();
                }
                self.offsets
                    .partitions_where(|_, committed| committed.commit_ms <= oldest_ms)
            }
            GroupState::Stable => {
                let Some(subscribed) = classic.subscribed_topics() else {
                    return Vec::new();
                };
                self.offsets.partitions_where(|topic, committed| {
                    committed.commit_ms <= oldest_ms && !subscribed.contains(topic.as_str())
                })
            }
            GroupState::PreparingRebalance | GroupState::CompletingRebalance => Vec::new(),
        }
    }
}

fn forget(group: &GroupId, mut partitions: Vec<Partition>, out: &mut Vec<Write>) {
    while !partitions.is_empty() {
        let rest = partitions.split_off(partitions.len().min(TOMBSTONES_MAX));
        out.push(Write {
            records: tombstones(group, partitions),
            then: Then::Nothing,
        });
        partitions = rest;
    }
}
