//! What is on its way to one output partition. Pure.
//!
//! A few batches are under way at a time. Each says which one it follows, so one that overtakes another, or whose
//! predecessor has to go to another leader, is refused and not lost: it goes again once all before it are there.
//! Only where the first of them is refused does somebody else write.

use std::collections::VecDeque;

use thalweg_types::Offset;

use super::output_writer::SealedBatch;

/// How many batches are under way. No more than a log remembers of a producer, so that whichever is sent again is
/// known there.
const UNDER_WAY_MAX: usize = 4;

/// Batches for one output partition, in their order.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    queue: VecDeque<Queued>,
    /// The number of the first in the queue: they are counted through.
    first: u64,
}

#[derive(Debug)]
struct Queued {
    batch: SealedBatch,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    UnderWay,
    /// It was refused, as one before it is not there yet.
    TooEarly,
    /// It is acknowledged, and one before it is not.
    Stored,
}

impl Outlet {
    pub(super) fn push(&mut self, batch: SealedBatch) {
        let state = State::Waiting;
        self.queue.push_back(Queued { batch, state });
    }

    /// Whether nothing is on its way.
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How many batches were ever on their way and are acknowledged, with all before them.
    pub(super) fn done_count(&self) -> u64 {
        self.first
    }

    /// How many batches were ever put on their way.
    pub(super) fn pushed_count(&self) -> u64 {
        self.first + self.queue.len() as u64
    }

    /// How far the output has come before the first that is on its way.
    pub(super) fn comes_from(&self) -> Option<Offset> {
        Some(self.queue.front()?.batch.from)
    }

    /// The next batch to send, with its number; it counts as under way then.
    pub(super) fn next_to_send(&mut self) -> Option<(u64, SealedBatch)> {
        let first = self.first;
        let mut numbered = (first..).zip(&mut self.queue).take(UNDER_WAY_MAX);
        let (number, next) = numbered
            .find(|(_, queued)| matches!(queued.state, State::Waiting | State::TooEarly))?;
        if next.state == State::TooEarly && number != first {
            return None;
        }
        next.state = State::UnderWay;
        Some((number, next.batch.clone()))
    }

    /// Whether a batch that is on its way is a marker.
    pub(super) fn is_marker(&mut self, number: u64) -> bool {
        self.queued(number)
            .is_some_and(|queued| queued.batch.is_marker)
    }

    /// Notes that a batch is acknowledged: those that are done, with all before them.
    pub(super) fn stored(&mut self, number: u64) -> Vec<SealedBatch> {
        if let Some(queued) = self.queued(number) {
            queued.state = State::Stored;
        }
        let mut done = Vec::new();
        while let Some(first) = self
            .queue
            .pop_front_if(|first| first.state == State::Stored)
        {
            self.first += 1;
            done.push(first.batch);
        }
        done
    }

    /// Notes that a batch is refused since it does not follow what is there; whether that is final, as all before
    /// it are there.
    pub(super) fn does_not_follow(&mut self, number: u64) -> bool {
        if number == self.first {
            return true;
        }
        if let Some(queued) = self.queued(number) {
            queued.state = State::TooEarly;
        }
        false
    }

    fn queued(&mut self, number: u64) -> Option<&mut Queued> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.queue.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use thalweg_types::Follows;
    use thalweg_wire::tags::OutputTag;

    use super::*;

    fn batch(from: i64) -> SealedBatch {
        SealedBatch {
            bytes: Bytes::new(),
            output: OutputTag {
                first_sequence: 0,
                follows: Follows::Anything,
            },
            from: Offset(from),
            reaches: Offset(from + 1),
            is_marker: false,
        }
    }

    fn with(count: i64) -> Outlet {
        let mut outlet = Outlet::default();
        for from in 0..count {
            outlet.push(batch(from));
        }
        outlet
    }

    fn send(outlet: &mut Outlet) -> Vec<u64> {
        std::iter::from_fn(|| outlet.next_to_send())
            .map(|(number, _)| number)
            .collect()
    }

    #[test]
    fn a_few_are_under_way_and_done_in_their_order() {
        let mut outlet = with(6);

        assert_eq!(send(&mut outlet), [0, 1, 2, 3]);
        assert!(outlet.stored(1).is_empty(), "the one before is not there");
        assert_eq!(outlet.comes_from(), Some(Offset(0)));
        assert_eq!(outlet.stored(0), [batch(0), batch(1)]);
        assert_eq!(outlet.comes_from(), Some(Offset(2)));
        assert_eq!(send(&mut outlet), [4, 5]);
    }

    #[test]
    fn one_that_comes_too_early_goes_again_once_all_before_it_are_there() {
        let mut outlet = with(4);
        send(&mut outlet);

        assert!(!outlet.does_not_follow(2) && !outlet.does_not_follow(1));
        assert!(send(&mut outlet).is_empty(), "the first is under way");
        outlet.stored(0);
        assert_eq!(send(&mut outlet), [1]);
        assert!(!outlet.does_not_follow(3));
        outlet.stored(1);
        assert_eq!(send(&mut outlet), [2]);
        outlet.stored(2);
        assert_eq!(send(&mut outlet), [3]);
        outlet.stored(3);
        assert!(outlet.is_empty());
    }

    #[test]
    fn a_first_one_that_does_not_follow_is_somebody_elses_doing() {
        let mut outlet = with(2);
        send(&mut outlet);
        outlet.stored(0);

        assert!(outlet.does_not_follow(1));
    }
}
