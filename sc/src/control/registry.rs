//! Who is connected, and when each SPU was last heard. Pure: time comes in as an argument.
//!
//! An SPU counts as silent once it was not heard for the timeout, with or without a session: a
//! stream that broke may come back before that. An SC that itself stood still (paused, starved)
//! heard nobody meanwhile, so that time does not count.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_types::{DirectoryId, Incarnation, SpuId};
use tokio::sync::oneshot;

/// Why a session has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// The SPU has registered anew.
    Replaced(Incarnation),
    /// It was silent for too long.
    Silent,
}

/// Tells the sessions of one SPU apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SessionNumber(u64);

/// The SPUs that are connected or were heard a moment ago.
#[derive(Debug)]
pub(super) struct Registry {
    timeout: Duration,
    sessions: BTreeMap<SpuId, Session>,
    /// Of every SPU that counts as online.
    heard: BTreeMap<SpuId, Duration>,
    looked: Duration,
    last_number: u64,
}

#[derive(Debug)]
struct Session {
    number: SessionNumber,
    directory_id: DirectoryId,
    end: oneshot::Sender<SessionEnd>,
}

impl Registry {
    /// A registry that expects to hear from the SPUs `online` within `timeout` of `now`.
    pub(super) fn new(
        timeout: Duration,
        online: impl IntoIterator<Item = SpuId>,
        now: Duration,
    ) -> Self {
        Self {
            timeout,
            sessions: BTreeMap::new(),
            heard: online.into_iter().map(|spu| (spu, now)).collect(),
            looked: now,
            last_number: 0,
        }
    }

    /// The data directory of the SPU's session, where it has one.
    pub(super) fn live(&self, spu: SpuId) -> Option<DirectoryId> {
        self.sessions.get(&spu).map(|session| session.directory_id)
    }

    /// Begins a session, in place of the one that the SPU has.
    pub(super) fn admit(
        &mut self,
        spu: SpuId,
        directory_id: DirectoryId,
        incarnation: Incarnation,
        now: Duration,
    ) -> (SessionNumber, oneshot::Receiver<SessionEnd>) {
        self.last_number += 1;
        let number = SessionNumber(self.last_number);
        let (end, ended) = oneshot::channel();
        let session = Session {
            number,
            directory_id,
            end,
        };
        if let Some(former) = self.sessions.insert(spu, session) {
            // It may have ended by itself.
            let _ = former.end.send(SessionEnd::Replaced(incarnation));
        }
        self.heard.insert(spu, now);
        (number, ended)
    }

    /// Notes that the SPU lives. Whether the session is still its present one.
    pub(super) fn heard(&mut self, spu: SpuId, number: SessionNumber, now: Duration) -> bool {
        let present = self.is_present(spu, number);
        if present {
            self.heard.insert(spu, now);
        }
        present
    }

    /// Ends a session, unless another has replaced it. Whether it was the present one.
    pub(super) fn ended(&mut self, spu: SpuId, number: SessionNumber) -> bool {
        let present = self.is_present(spu, number);
        if present {
            self.sessions.remove(&spu);
        }
        present
    }

    /// The SPUs that count as online and were silent for too long. Their sessions end.
    pub(super) fn silent(&mut self, now: Duration) -> Vec<SpuId> {
        let stood_still = now.saturating_sub(self.looked);
        self.looked = now;
        if stood_still > self.timeout / 2 {
            for heard in self.heard.values_mut() {
                *heard += stood_still;
            }
        }
        let too_long = |heard: Duration| now.saturating_sub(heard) > self.timeout;
        let silent = self.heard.iter().filter(|(_, heard)| too_long(**heard));
        let silent: Vec<_> = silent.map(|(spu, _)| *spu).collect();
        for spu in &silent {
            if let Some(session) = self.sessions.remove(spu) {
                // It may have ended by itself.
                let _ = session.end.send(SessionEnd::Silent);
            }
        }
        silent
    }

    /// Stops expecting an SPU that is stored as offline, unless it has registered meanwhile.
    pub(super) fn forget(&mut self, spu: SpuId) {
        if !self.sessions.contains_key(&spu) {
            self.heard.remove(&spu);
        }
    }

    /// Whether the session is the SPU's present one.
    pub(super) fn is_present(&self, spu: SpuId, number: SessionNumber) -> bool {
        self.sessions
            .get(&spu)
            .is_some_and(|session| session.number == number)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const SPU: SpuId = SpuId(3);
    const TIMEOUT: Duration = Duration::from_secs(3);
    const DIRECTORY: DirectoryId = DirectoryId(Uuid::from_u128(1));

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks every 100 ms up to `until`, and says who was silent on the way.
    fn look(registry: &mut Registry, from_ms: u64, until_ms: u64) -> Vec<SpuId> {
        (from_ms / 100..=until_ms / 100)
            .flat_map(|tick| registry.silent(at(tick * 100)))
            .collect()
    }

    fn empty() -> Registry {
        Registry::new(TIMEOUT, [], at(0))
    }

    #[test]
    fn an_spu_that_is_heard_is_not_silent() {
        let mut registry = empty();
        let (session, _ended) = registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));

        for second in 0..20 {
            assert!(registry.heard(SPU, session, at(second * 1000)));
            assert_eq!(look(&mut registry, second * 1000, second * 1000 + 900), []);
        }
    }

    #[test]
    fn an_spu_that_is_silent_loses_its_session() {
        let mut registry = empty();
        let (session, mut ended) = registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));

        assert_eq!(look(&mut registry, 0, 3000), []);
        assert_eq!(registry.silent(at(3001)), [SPU]);

        assert_eq!(ended.try_recv(), Ok(SessionEnd::Silent));
        assert!(!registry.heard(SPU, session, at(3002)));
        registry.forget(SPU);
        assert_eq!(registry.silent(at(3100)), []);
    }

    #[test]
    fn a_stream_that_broke_may_come_back_before_the_timeout() {
        let mut registry = empty();
        let (first, _ended) = registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));
        assert!(registry.ended(SPU, first));
        assert_eq!(registry.live(SPU), None);

        registry.admit(SPU, DIRECTORY, Incarnation(1), at(2000));

        assert_eq!(look(&mut registry, 2000, 4900), []);
    }

    #[test]
    fn a_stream_that_broke_and_stays_away_is_silent() {
        let mut registry = empty();
        let (first, _ended) = registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));
        registry.ended(SPU, first);

        assert_eq!(look(&mut registry, 0, 3100), [SPU]);
    }

    #[test]
    fn the_next_life_replaces_the_former_at_once() {
        let mut registry = empty();
        let (first, mut ended) = registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));

        let (second, _ended) = registry.admit(SPU, DIRECTORY, Incarnation(2), at(10));

        assert_eq!(ended.try_recv(), Ok(SessionEnd::Replaced(Incarnation(2))));
        assert!(!registry.heard(SPU, first, at(20)));
        assert!(
            !registry.ended(SPU, first),
            "the end of the former changes nothing"
        );
        assert!(registry.heard(SPU, second, at(20)));
    }

    #[test]
    fn after_a_restart_of_the_sc_spus_have_the_timeout_to_come_back() {
        let mut registry = Registry::new(TIMEOUT, [SPU], at(0));

        assert_eq!(look(&mut registry, 0, 3000), []);
        assert_eq!(registry.silent(at(3001)), [SPU]);
    }

    #[test]
    fn the_time_that_the_sc_itself_stood_still_does_not_count() {
        let mut registry = empty();
        registry.admit(SPU, DIRECTORY, Incarnation(1), at(0));
        assert_eq!(look(&mut registry, 0, 1000), []);

        assert_eq!(registry.silent(at(60_000)), []);

        assert_eq!(look(&mut registry, 60_000, 62_000), []);
        assert_eq!(registry.silent(at(62_100)), [SPU]);
    }
}
