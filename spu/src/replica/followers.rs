//! How far a leader's followers are, and which of them should be in sync. Pure.
//!
//! Rules:
//! - A follower is caught up while it keeps all that the leader had at its last fetch but one: one
//!   that fetches without pause is caught up also under a load that never ends.
//! - One that was not caught up for longer than the allowed lag should leave the ISR.
//! - One that keeps all that is committed, and all from before this reign, should join. Until the SC
//!   has answered, it counts for the high watermark as if it had joined: the SC may have stored it
//!   already.
//! - One change at a time is asked for, so that each is about the partition as it is.
//! - A follower whose process has restarted, or whose copy was made anew, counts with what it says
//!   now, not with what it said in its former life.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_types::{CopyLife, Offset, PartitionEpoch, SpuId};

/// How long nothing more is asked for after the SC has refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// How far a follower's log goes, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FollowerPosition {
    /// The life in which it is so.
    pub life: CopyLife,
    /// Up to where the topic's durability is met.
    pub stable_end: Offset,
}

/// What the SC says of the partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Membership {
    /// Who should hold it.
    pub(super) replicas: Vec<SpuId>,
    /// The in-sync replicas.
    pub(super) isr: Vec<SpuId>,
    pub(super) partition_epoch: PartitionEpoch,
}

/// What a leader asks the SC for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct WantedIsr {
    pub(super) partition_epoch: PartitionEpoch,
    /// Followers that are to be in sync, each in the life in which it caught up.
    pub(super) followers: Vec<(SpuId, CopyLife)>,
}

/// A leader's followers during one reign.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Followers {
    leader: SpuId,
    membership: Membership,
    /// The log's end when the reign began.
    reign_start: Offset,
    seen: BTreeMap<SpuId, Seen>,
    asked: Option<WantedIsr>,
    /// On the monotonic clock: nothing is asked for before.
    ask_after: Duration,
}

/// What is known of one follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Seen {
    position: Option<FollowerPosition>,
    /// On the monotonic clock.
    fetched_at: Duration,
    /// Where the leader's log ended then.
    leader_end: Offset,
    /// On the monotonic clock.
    caught_up_at: Duration,
}

impl Followers {
    /// Those of a reign that begins `now`: who is in sync has the allowed lag to fetch.
    pub(super) fn new(
        leader: SpuId,
        membership: Membership,
        reign_start: Offset,
        now: Duration,
    ) -> Self {
        let mut followers = Self {
            leader,
            membership,
            reign_start,
            seen: BTreeMap::new(),
            asked: None,
            ask_after: Duration::ZERO,
        };
        followers.know_all(now);
        followers
    }

    /// Takes over what the SC has changed; what was asked for about an older state is moot.
    pub(super) fn update(&mut self, membership: Membership, now: Duration) {
        if membership.partition_epoch != self.membership.partition_epoch {
            self.asked = None;
        }
        self.membership = membership;
        self.know_all(now);
    }

    fn know_all(&mut self, now: Duration) {
        let held = &self.membership.replicas;
        self.seen.retain(|spu, _| held.contains(spu));
        for spu in held.iter().filter(|spu| **spu != self.leader) {
            self.seen.entry(*spu).or_insert(Seen {
                position: None,
                fetched_at: now,
                leader_end: Offset(i64::MAX),
                caught_up_at: now,
            });
        }
    }

    /// Notes how far a follower is. Returns its position where it counts: `None` for an SPU that
    /// holds no replica, or a former life of one.
    pub(super) fn fetched(
        &mut self,
        spu: SpuId,
        position: FollowerPosition,
        leader_end: Offset,
        now: Duration,
    ) -> Option<Counted> {
        let seen = self.seen.get_mut(&spu)?;
        let known = seen.position;
        if known.is_some_and(|known| known.life > position.life) {
            return None;
        }
        let has_begun_anew = known.is_some_and(|known| known.life < position.life);
        // Two connections tell of one follower, and may overtake each other.
        let stable_end = match known {
            Some(known) if !has_begun_anew => known.stable_end.max(position.stable_end),
            _ => position.stable_end,
        };
        if stable_end >= leader_end {
            seen.caught_up_at = now;
        } else if stable_end >= seen.leader_end {
            seen.caught_up_at = seen.caught_up_at.max(seen.fetched_at);
        }
        seen.position = Some(FollowerPosition {
            stable_end,
            ..position
        });
        seen.fetched_at = now;
        seen.leader_end = leader_end;
        Some(Counted {
            stable_end,
            has_begun_anew,
        })
    }

    /// Who counts for the high watermark: the in-sync replicas, and those that the SC may have let
    /// join.
    pub(super) fn counted(&self) -> Vec<SpuId> {
        let mut counted = self.membership.isr.clone();
        let asked = self.asked.iter().flat_map(|asked| &asked.followers);
        for (spu, _) in asked {
            if !counted.contains(spu) {
                counted.push(*spu);
            }
        }
        counted
    }

    /// Up to where a follower keeps the log, as it last said.
    pub(super) fn stable_end(&self, spu: SpuId) -> Option<Offset> {
        Some(self.seen.get(&spu)?.position?.stable_end)
    }

    /// The in-sync replicas to ask the SC for, where they are not those that there are.
    pub(super) fn ask(
        &mut self,
        high_watermark: Offset,
        now: Duration,
        lag_max: Duration,
    ) -> Option<WantedIsr> {
        if self.asked.is_some() || now < self.ask_after {
            return None;
        }
        let mut followers = Vec::new();
        let mut changed = false;
        for (spu, seen) in &self.seen {
            let is_in_sync = self.membership.isr.contains(spu);
            let position = seen.position;
            let stays = is_in_sync && now.saturating_sub(seen.caught_up_at) <= lag_max;
            let joins = !is_in_sync
                && position.is_some_and(|position| {
                    position.stable_end >= high_watermark.max(self.reign_start)
                })
                && now.saturating_sub(seen.fetched_at) <= lag_max;
            if stays || joins {
                let life = position.map(|position| position.life);
                followers.push((*spu, life.unwrap_or_default()));
            }
            changed |= joins || (is_in_sync && !stays);
        }
        if !changed {
            return None;
        }
        let wanted = WantedIsr {
            partition_epoch: self.membership.partition_epoch,
            followers,
        };
        self.asked = Some(wanted.clone());
        Some(wanted)
    }

    /// Whether the SC has yet to answer.
    pub(super) fn is_asking(&self) -> bool {
        self.asked.is_some()
    }

    /// Notes that the SC has refused what was asked for about the partition at `partition_epoch`.
    pub(super) fn refused(&mut self, partition_epoch: PartitionEpoch, now: Duration) {
        let asked = self.asked.as_ref();
        if asked.is_some_and(|asked| asked.partition_epoch == partition_epoch) {
            self.asked = None;
            self.ask_after = now + REFUSED_PAUSE;
        }
    }
}

/// How far a follower counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) stable_end: Offset,
    /// What it said in its former life is void.
    pub(super) has_begun_anew: bool,
}

#[cfg(test)]
mod tests {
    use thalweg_types::{CopyNumber, Incarnation};

    use super::*;

    const LEADER: SpuId = SpuId(0);
    const A: SpuId = SpuId(1);
    const B: SpuId = SpuId(2);
    const LAG_MAX: Duration = Duration::from_secs(10);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(stable_end: i64) -> FollowerPosition {
        FollowerPosition {
            life: life(1, 1),
            stable_end: Offset(stable_end),
        }
    }

    fn life(process: u64, copy: u64) -> CopyLife {
        CopyLife {
            process: Incarnation(process),
            copy: CopyNumber(copy),
        }
    }

    fn membership(isr: &[SpuId], epoch: i32) -> Membership {
        Membership {
            replicas: vec![LEADER, A, B],
            isr: isr.to_vec(),
            partition_epoch: PartitionEpoch(epoch),
        }
    }

    fn followers(isr: &[SpuId]) -> Followers {
        Followers::new(LEADER, membership(isr, 1), Offset(100), seconds(0))
    }

    fn asked(followers: &mut Followers, now: u64) -> Option<Vec<SpuId>> {
        let wanted = followers.ask(Offset(100), seconds(now), LAG_MAX)?;
        Some(wanted.followers.into_iter().map(|(spu, _)| spu).collect())
    }

    #[test]
    fn one_that_does_not_fetch_leaves_after_the_lag() {
        let mut followers = followers(&[LEADER, A, B]);
        followers.fetched(A, at(100), Offset(100), seconds(9));

        assert_eq!(asked(&mut followers, 10), None);
        assert_eq!(asked(&mut followers, 11), Some(vec![A]));
    }

    #[test]
    fn one_that_follows_a_load_without_end_stays() {
        let mut followers = followers(&[LEADER, A]);
        for second in 1..60_u64 {
            let end = i64::try_from(second).unwrap() * 100;
            // It keeps what there was a second ago, and never what there is.
            followers.fetched(A, at(end - 100), Offset(end), seconds(second));
            assert_eq!(asked(&mut followers, second), None);
        }
    }

    #[test]
    fn one_that_fetches_and_falls_back_leaves() {
        let mut followers = followers(&[LEADER, A]);
        for second in 1..=11_u64 {
            let end = i64::try_from(second).unwrap() * 100;
            followers.fetched(A, at(end / 3), Offset(end), seconds(second));
        }
        assert_eq!(asked(&mut followers, 11), Some(vec![]));
    }

    #[test]
    fn one_joins_once_it_has_what_is_committed_and_what_came_before_the_reign() {
        let mut followers = followers(&[LEADER]);
        followers.fetched(A, at(99), Offset(120), seconds(1));
        assert_eq!(asked(&mut followers, 1), None);
        assert_eq!(followers.counted(), [LEADER]);

        followers.fetched(A, at(100), Offset(120), seconds(2));
        assert_eq!(asked(&mut followers, 2), Some(vec![A]));
        // It counts from now on, whatever the SC has done; and nothing else is asked for.
        assert_eq!(followers.counted(), [LEADER, A]);
        followers.fetched(B, at(100), Offset(120), seconds(2));
        assert_eq!(asked(&mut followers, 2), None);

        followers.update(membership(&[LEADER, A], 2), seconds(3));
        assert_eq!(asked(&mut followers, 3), Some(vec![A, B]));
    }

    #[test]
    fn what_is_refused_is_asked_for_again_after_a_pause() {
        let mut followers = followers(&[LEADER]);
        followers.fetched(A, at(100), Offset(100), seconds(1));
        asked(&mut followers, 1).unwrap();

        followers.refused(PartitionEpoch(0), seconds(2));
        assert_eq!(asked(&mut followers, 2), None, "that was about another");
        followers.refused(PartitionEpoch(1), seconds(2));
        assert_eq!(followers.counted(), [LEADER]);
        assert_eq!(asked(&mut followers, 2), None);
        assert_eq!(asked(&mut followers, 3), Some(vec![A]));
    }

    #[test]
    fn a_follower_that_begins_anew_counts_with_what_it_says_now() {
        for reborn in [life(2, 1), life(1, 2)] {
            let mut followers = followers(&[LEADER]);
            followers.fetched(A, at(120), Offset(120), seconds(1));
            let reborn = FollowerPosition {
                life: reborn,
                stable_end: Offset(40),
            };

            let counted = followers.fetched(A, reborn, Offset(120), seconds(2));
            assert_eq!(
                counted,
                Some(Counted {
                    stable_end: Offset(40),
                    has_begun_anew: true
                })
            );
            assert_eq!(followers.fetched(A, at(120), Offset(120), seconds(2)), None);
            assert_eq!(asked(&mut followers, 2), None, "it lacks what is committed");
        }
    }

    #[test]
    fn a_follower_joins_in_the_life_in_which_it_was_seen() {
        let mut followers = followers(&[LEADER]);
        followers.fetched(A, at(100), Offset(100), seconds(1));

        let wanted = followers.ask(Offset(100), seconds(1), LAG_MAX).unwrap();
        assert_eq!(wanted.followers, [(A, life(1, 1))]);
    }

    #[test]
    fn who_holds_no_replica_does_not_count() {
        let mut followers = followers(&[LEADER]);

        assert_eq!(
            followers.fetched(SpuId(9), at(500), Offset(500), seconds(1)),
            None
        );
        assert_eq!(asked(&mut followers, 1), None);
    }
}
