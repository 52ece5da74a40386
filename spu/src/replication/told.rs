//! What a leader has been told of where the copies are, so that a request names only those that are
//! elsewhere since. Pure.
//!
//! Everything is named again from time to time: a leader counts on a follower that it hears of, and what
//! makes a copy useless without an answer of the leader's (its disk, for one) is found out then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use thalweg_types::TopicPartition;
use thalweg_wire::messages::FetchResponse;

use super::request::{Asked, Session};
use crate::replica::Follower;

/// What a leader has been told on one connection.
#[derive(Default)]
pub(super) struct Told {
    /// Of the next request; absent where that has to name everything.
    session: Option<Session>,
    named: HashMap<TopicPartition, Asked>,
    /// Those that the last answer spoke of.
    touched: Vec<Arc<Follower>>,
    /// On the monotonic clock: everything is named again.
    all_at: Duration,
}

impl Told {
    /// The session of the next request and what it has to name; `None` where that is everything.
    pub(super) fn changed(&mut self, now: Duration) -> Option<(Session, Vec<Asked>)> {
        let session = self.session.take().filter(|_| now < self.all_at)?;
        let touched = std::mem::take(&mut self.touched);
        let changed: Option<Vec<Asked>> = touched.into_iter().map(Asked::after_log).collect();
        let changed = changed?;
        for asked in &changed {
            let partition = asked.follower.topic_partition().clone();
            self.named.insert(partition, asked.clone());
        }
        self.session = Some(session);
        Some((session, changed))
    }

    /// Notes that everything is named, and has to be again at `all_at`.
    pub(super) fn name_all(&mut self, asked: &[Asked], all_at: Duration) {
        self.session = None;
        self.touched.clear();
        self.all_at = all_at;
        let named = asked.iter().cloned();
        self.named = named
            .map(|asked| (asked.follower.topic_partition().clone(), asked))
            .collect();
    }

    /// Notes in which session the leader has answered, if it keeps any.
    pub(super) fn answered(&mut self, answer: &FetchResponse) {
        let is_kept = answer.error_code == 0 && answer.session_id != 0;
        let next = self
            .session
            .map_or(1, |session| session.epoch.wrapping_add(1).max(1));
        self.session = is_kept.then_some(Session {
            id: answer.session_id,
            epoch: next,
        });
    }

    /// Where the leader believes a copy to be.
    pub(super) fn named(&self, partition: &TopicPartition) -> Option<Asked> {
        self.named.get(partition).cloned()
    }

    /// Notes that an answer spoke of a partition.
    pub(super) fn touch(&mut self, follower: Arc<Follower>) {
        self.touched.push(follower);
    }
}
