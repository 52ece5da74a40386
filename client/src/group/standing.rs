//! Where a member stands, as its task, its consumer and whoever commits share it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use thalweg_types::{Offset, PartitionIndex};
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant};

use super::Offsets;

/// Where a member stands.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    state: Mutex<State>,
    /// Absent while it is no member.
    identity: watch::Sender<Option<Identity>>,
    /// The consumer has asked for more.
    asked: Notify,
}

/// Who the member is to the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(super) member_id: String,
    pub(super) generation: i32,
}

#[derive(Debug, Default)]
struct State {
    owned: BTreeMap<PartitionIndex, Owned>,
    /// Since when the program has a batch; absent while it waits for one.
    busy_since: Option<Instant>,
}

#[derive(Debug)]
struct Owned {
    /// Which time it is that the member has the partition: what was fetched in another one is not handed
    /// out.
    turn: u64,
    /// The next record that the program has not dealt with.
    position: Offset,
    /// The position that the group knows.
    committed: Option<Offset>,
    /// The program has heard that it is to let go of it: nothing more is handed out, as what was fetched
    /// before that is dropped.
    is_revoked: bool,
}

impl Standing {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    pub(super) fn identity(&self) -> Option<Identity> {
        self.identity.borrow().clone()
    }

    /// Who the member is, now and whenever it has joined anew.
    pub(super) fn identities(&self) -> watch::Receiver<Option<Identity>> {
        self.identity.subscribe()
    }

    pub(super) fn set_identity(&self, identity: Option<Identity>) {
        self.identity.send_replace(identity);
    }

    pub(crate) fn owned(&self) -> Vec<PartitionIndex> {
        self.lock().owned.keys().copied().collect()
    }

    /// Whether what was fetched in `turn` may be handed out.
    pub(super) fn is_turn(&self, partition: PartitionIndex, turn: u64) -> bool {
        let state = self.lock();
        state
            .owned
            .get(&partition)
            .is_some_and(|owned| owned.turn == turn && !owned.is_revoked)
    }

    /// Has nothing more of these handed out. The member has them until it lets go of them.
    pub(super) fn revoke(&self, partitions: &[PartitionIndex]) {
        let mut state = self.lock();
        for partition in partitions {
            if let Some(owned) = state.owned.get_mut(partition) {
                owned.is_revoked = true;
            }
        }
    }

    /// Begins a turn with the partition.
    pub(super) fn own(
        &self,
        partition: PartitionIndex,
        turn: u64,
        position: Offset,
        committed: Option<Offset>,
    ) {
        let owned = Owned {
            turn,
            position,
            committed,
            is_revoked: false,
        };
        self.lock().owned.insert(partition, owned);
    }

    /// Ends the member's turns with these; what of them the group does not know yet.
    pub(super) fn release(&self, partitions: &[PartitionIndex]) -> Offsets {
        let mut state = self.lock();
        let mut uncommitted = Offsets::new();
        for partition in partitions {
            if let Some(owned) = state.owned.remove(partition)
                && owned.committed != Some(owned.position)
            {
                uncommitted.insert(*partition, owned.position);
            }
        }
        uncommitted
    }

    /// Forgets all partitions: others have them, or may.
    pub(super) fn lose_all(&self) -> Vec<PartitionIndex> {
        std::mem::take(&mut self.lock().owned).into_keys().collect()
    }

    /// Notes what the program has dealt with.
    pub(super) fn advance(&self, partition: PartitionIndex, position: Offset) {
        if let Some(owned) = self.lock().owned.get_mut(&partition) {
            owned.position = position;
        }
    }

    /// What the group does not know yet.
    pub(super) fn uncommitted(&self) -> Offsets {
        let state = self.lock();
        let owned = state.owned.iter();
        owned
            .filter(|(_, owned)| owned.committed != Some(owned.position))
            .map(|(partition, owned)| (*partition, owned.position))
            .collect()
    }

    pub(super) fn note_committed(&self, offsets: &Offsets) {
        let mut state = self.lock();
        for (partition, offset) in offsets {
            if let Some(owned) = state.owned.get_mut(partition) {
                owned.committed = Some(*offset);
            }
        }
    }

    /// The program asks for more.
    pub(super) fn asks(&self) {
        self.lock().busy_since = None;
        self.asked.notify_waiters();
    }

    /// The program has got something.
    pub(super) fn got(&self) {
        self.lock().busy_since = Some(Instant::now());
    }

    /// Whether the program has had a batch for longer than `limit`.
    pub(super) fn is_stuck(&self, limit: Duration) -> bool {
        let busy_since = self.lock().busy_since;
        busy_since.is_some_and(|since| since.elapsed() > limit)
    }

    /// Waits until the program asks for more.
    pub(super) async fn wait_until_asked(&self) {
        let asked = self.asked.notified();
        tokio::pin!(asked);
        asked.as_mut().enable();
        if self.lock().busy_since.is_some() {
            asked.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PartitionIndex = PartitionIndex(1);

    #[test]
    fn nothing_is_handed_out_of_what_is_revoked_and_what_was_can_be_committed() {
        let standing = Standing::default();
        standing.own(P, 2, Offset(912), None);
        standing.advance(P, Offset(1216));
        assert!(standing.is_turn(P, 2));

        standing.revoke(&[P]);

        assert!(!standing.is_turn(P, 2), "fetched before it was revoked");
        assert_eq!(standing.owned(), [P]);
        assert_eq!(standing.release(&[P]), Offsets::from([(P, Offset(1216))]));
        standing.own(P, 3, Offset(1216), None);
        assert!(standing.is_turn(P, 3));
    }
}
