//! What people are told of a group.

use std::collections::BTreeSet;

use thalweg_types::TopicName;

use super::heartbeat::chosen;
use super::subscriptions::wanted;
use super::{Assignment, ConsumerGroup};
use crate::cluster_view::View;
use crate::groups::records::{MemberState, StoredConsumer};

/// A group in full.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerDescribed {
    pub(crate) state: &'static str,
    pub(crate) epoch: i32,
    pub(crate) target_epoch: i32,
    pub(crate) assignor: &'static str,
    pub(crate) members: Vec<ConsumerMemberDescribed>,
}

/// A member of a group.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerMemberDescribed {
    pub(crate) member_id: String,
    pub(crate) about: StoredConsumer,
    pub(crate) epoch: i32,
    pub(crate) assigned: Assignment,
    pub(crate) target: Assignment,
}

impl ConsumerGroup {
    /// Kafka's name of where it is.
    pub(in crate::groups) fn state_name(&self) -> &'static str {
        let is_there = |member: &super::ConsumerMember| {
            member.current.state == MemberState::Stable && member.current.epoch == self.target_epoch
        };
        if self.members.is_empty() {
            "Empty"
        } else if self.epoch > self.target_epoch {
            "Assigning"
        } else if self.members.values().all(is_there) {
            "Stable"
        } else {
            "Reconciling"
        }
    }

    pub(in crate::groups) fn describe(&self) -> ConsumerDescribed {
        let abouts: Vec<_> = self.members.values().map(|member| &member.about).collect();
        let members = self
            .members
            .iter()
            .map(|(id, member)| ConsumerMemberDescribed {
                member_id: id.clone(),
                about: member.about.clone(),
                epoch: member.current.epoch,
                assigned: member.current.assigned.clone(),
                target: self.targets.get(id).cloned().unwrap_or_default(),
            });
        ConsumerDescribed {
            state: self.state_name(),
            epoch: self.epoch,
            target_epoch: self.target_epoch,
            assignor: chosen(abouts.iter()).name(),
            members: members.collect(),
        }
    }

    /// The topics that its members read.
    pub(in crate::groups) fn subscribed_topics(&self, view: &View) -> BTreeSet<TopicName> {
        let members = self.members.values();
        let topics = members.flat_map(|member| wanted(&member.about, view));
        topics
            .filter_map(|id| view.topic_by_id(id).map(|topic| topic.name.clone()))
            .collect()
    }
}
