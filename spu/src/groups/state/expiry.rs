//! What is forgotten by itself: offsets that nobody came back for, offsets of topics that are gone,
//! and groups that nothing is left of.

use std::collections::BTreeSet;

use thalweg_types::TopicName;

use super::{Group, Moment, ShardState, Then, TopicIsThere, Write, tombstones};
use crate::cluster_view::View;
use crate::groups::GroupId;
use crate::groups::classic::GroupState;
use crate::groups::consumer::of_group;
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
            let expired = group.expired(oldest_ms, &self.view);
            let is_last = group.offsets.iter().count() == expired.len();
            forget(id, expired, &mut out);
            if is_last {
                out.extend(group.last_tombstones(id));
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
    /// The topics that its members read; `None` where that is not known.
    pub(super) fn subscribed_topics(&self, view: &View) -> Option<BTreeSet<TopicName>> {
        match &self.consumer {
            Some(consumer) => Some(consumer.subscribed_topics(view)),
            None => {
                let names = self.classic.subscribed_topics()?.into_iter();
                Some(
                    names
                        .filter_map(|name| TopicName::new(&name).ok())
                        .collect(),
                )
            }
        }
    }

    /// The offsets that were committed before `oldest_ms` and that nobody uses. Those of a group
    /// whose members have gone count from when the last one went (KIP-211).
    fn expired(&self, oldest_ms: i64, view: &View) -> Vec<Partition> {
        let is_old = |committed: &CommittedOffset| committed.commit_ms <= oldest_ms;
        let empty_since_ms = match &self.consumer {
            Some(consumer) => consumer.is_empty().then(|| consumer.empty_since_ms()),
            None => match self.classic.state() {
                GroupState::Empty if !self.classic.has_had_members() => Some(i64::MIN),
                GroupState::Empty => Some(self.classic.state_since_ms()),
                GroupState::Stable => None,
                GroupState::PreparingRebalance | GroupState::CompletingRebalance => {
                    return Vec::new();
                }
            },
        };
        if let Some(empty_since_ms) = empty_since_ms {
            if empty_since_ms > oldest_ms {
                return Vec::new();
            }
            return self
                .offsets
                .partitions_where(|_, committed| is_old(committed));
        }
        let Some(subscribed) = self.subscribed_topics(view) else {
            return Vec::new();
        };
        self.offsets
            .partitions_where(|topic, committed| is_old(committed) && !subscribed.contains(topic))
    }

    /// What forgets the group itself, where nobody is in it.
    fn last_tombstones(&self, id: &GroupId) -> Option<Write> {
        let records = match &self.consumer {
            Some(consumer) if consumer.is_empty() && !self.is_planning => {
                let tombstones = consumer.tombstones().into_iter();
                tombstones.map(|record| of_group(id, record)).collect()
            }
            None if self.classic.is_idle() && self.classic.has_had_members() => {
                vec![GroupRecord::Classic {
                    group: id.clone(),
                    stored: None,
                }]
            }
            _ => return None,
        };
        Some(Write {
            records,
            then: Then::Nothing,
        })
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
