//! One member of a group.

use std::time::Duration;

use bytes::Bytes;

use super::join::{JoinAnswer, JoinRequest};
use super::sync::SyncAnswer;
use crate::groups::state::Moment;
use crate::groups::waiter::Waiter;

/// How long a new member may wait for the others. It does not know its id yet and can't say that it
/// lives.
const NEWCOMER_PATIENCE: Duration = Duration::from_secs(300);

/// One member of a group.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) instance_id: Option<String>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// The assignors that it knows, the best first, with what it tells each.
    pub(super) protocols: Vec<(String, Bytes)>,
    pub(super) assignment: Bytes,
    /// When it was last heard.
    pub(super) heard: Duration,
    /// Until when it may wait, before its first generation begins.
    pub(super) newcomer_until: Option<Duration>,
    /// It has joined and waits for the others.
    pub(super) joining: Option<Waiter<JoinAnswer>>,
    /// It waits for its partitions.
    pub(super) syncing: Option<Waiter<SyncAnswer>>,
    /// It has asked for its partitions in this generation.
    pub(super) has_synced: bool,
}

impl Member {
    pub(super) fn of(request: JoinRequest, waiter: Waiter<JoinAnswer>, now: Moment) -> Self {
        Self {
            instance_id: request.instance_id,
            client_id: request.client_id,
            client_host: request.client_host,
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: request.protocols,
            assignment: Bytes::new(),
            heard: now.monotonic,
            newcomer_until: Some(now.monotonic + NEWCOMER_PATIENCE),
            joining: Some(waiter),
            syncing: None,
            has_synced: false,
        }
    }

    /// Takes over what it says of itself when it joins again.
    pub(super) fn update(&mut self, request: JoinRequest, now: Moment) {
        self.client_id = request.client_id;
        self.client_host = request.client_host;
        self.session_timeout = request.session_timeout;
        self.rebalance_timeout = request.rebalance_timeout;
        self.protocols = request.protocols;
        self.heard = now.monotonic;
    }

    pub(super) fn hear(&mut self, now: Moment) {
        self.heard = now.monotonic;
    }

    /// When it counts as lost. While it waits for an answer it can't say that it lives.
    pub(super) fn due(&self) -> Option<Duration> {
        if self.joining.is_some() {
            return self.newcomer_until;
        }
        if self.syncing.is_some() {
            return None;
        }
        Some(self.heard.saturating_add(self.session_timeout))
    }

    pub(super) fn knows(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    /// What it tells the assignor.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|(name, _)| Some(name.as_str()) == protocol)
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// What it takes in memory and in the group's record, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        protocols_bytes(&self.protocols) + self.assignment.len()
    }
}

pub(super) fn protocols_bytes(protocols: &[(String, Bytes)]) -> usize {
    protocols
        .iter()
        .map(|(name, metadata)| name.len() + metadata.len())
        .sum()
}
