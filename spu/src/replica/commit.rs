//! What an append waits for, without I/O: the marks of one reign and the appends that wait for
//! them.
//!
//! An append is woken once, when its own mark is passed, and not with each step of the log: with
//! many pipelined produces that is the difference between a wake-up each and a crowd each time.
//! [`Replica`](super::Replica) holds it behind a lock and hands out what comes back.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use thalweg_types::Offset;

use super::high_watermark::HighWatermark;

/// When an append counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Once it is written to the page cache (nobody waits for more).
    None,
    /// Once the topic's durability is met on this SPU.
    Leader,
    /// Once every in-sync replica has it: below the high watermark.
    All,
}

/// The marks of one reign, and the appends that wait for them. `W` is how a waiter is woken.
#[derive(Debug)]
pub(super) struct Commit<W> {
    stable_end: Offset,
    high_watermark: HighWatermark,
    waiting_for_leader: BinaryHeap<Waiting<W>>,
    waiting_for_all: BinaryHeap<Waiting<W>>,
}

impl<W> Commit<W> {
    pub(super) fn new(stable_end: Offset, high_watermark: HighWatermark) -> Self {
        Self {
            stable_end,
            high_watermark,
            waiting_for_leader: BinaryHeap::new(),
            waiting_for_all: BinaryHeap::new(),
        }
    }

    pub(super) fn high_watermark_mut(&mut self) -> &mut HighWatermark {
        &mut self.high_watermark
    }

    /// Notes that this SPU keeps the log up to `end`; its high watermark is noted separately.
    pub(super) fn observe_stable_end(&mut self, end: Offset) {
        self.stable_end = self.stable_end.max(end);
    }

    /// Lets `waiter` wait until the log is kept up to `end`, or hands it back when it is already.
    pub(super) fn wait(&mut self, acks: Acks, end: Offset, waiter: W) -> Option<W> {
        let (reached, queue) = match acks {
            Acks::None => return Some(waiter),
            Acks::Leader => (self.stable_end, &mut self.waiting_for_leader),
            Acks::All => (self.high_watermark.offset(), &mut self.waiting_for_all),
        };
        if reached >= end {
            return Some(waiter);
        }
        queue.push(Waiting { end, waiter });
        None
    }

    /// Moves the waiters whose mark is passed to `done`, the lowest first.
    pub(super) fn take_done(&mut self, done: &mut Vec<W>) {
        take_up_to(&mut self.waiting_for_leader, self.stable_end, done);
        take_up_to(
            &mut self.waiting_for_all,
            self.high_watermark.offset(),
            done,
        );
    }

    /// Gives up all that wait: the reign is over.
    pub(super) fn take_all(&mut self) -> Vec<W> {
        self.waiting_for_leader
            .drain()
            .chain(self.waiting_for_all.drain())
            .map(|waiting| waiting.waiter)
            .collect()
    }
}

fn take_up_to<W>(queue: &mut BinaryHeap<Waiting<W>>, reached: Offset, done: &mut Vec<W>) {
    while queue.peek().is_some_and(|lowest| lowest.end <= reached) {
        done.extend(queue.pop().map(|waiting| waiting.waiter));
    }
}

/// One append that waits, ordered so that the lowest end is at the top of the heap.
#[derive(Debug)]
struct Waiting<W> {
    end: Offset,
    waiter: W,
}

impl<W> PartialEq for Waiting<W> {
    fn eq(&self, other: &Self) -> bool {
        self.end == other.end
    }
}

impl<W> Eq for Waiting<W> {}

impl<W> PartialOrd for Waiting<W> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<W> Ord for Waiting<W> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.end.cmp(&self.end)
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::SpuId;

    use super::*;

    const A: SpuId = SpuId(0);
    const B: SpuId = SpuId(1);

    fn done(commit: &mut Commit<&'static str>) -> Vec<&'static str> {
        let mut done = Vec::new();
        commit.take_done(&mut done);
        done
    }

    #[test]
    fn nobody_waits_for_what_is_there() {
        let mut commit = Commit::new(Offset(5), HighWatermark::new(Offset(5), [A]));

        assert_eq!(commit.wait(Acks::None, Offset(9), "none"), Some("none"));
        assert_eq!(
            commit.wait(Acks::Leader, Offset(5), "leader"),
            Some("leader")
        );
        assert_eq!(commit.wait(Acks::All, Offset(5), "all"), Some("all"));
    }

    #[test]
    fn each_waiter_is_woken_once_when_its_own_mark_is_passed() {
        let mut commit = Commit::new(Offset(0), HighWatermark::new(Offset(0), [A, B]));
        commit.wait(Acks::Leader, Offset(4), "leader to 4");
        commit.wait(Acks::Leader, Offset(2), "leader to 2");
        commit.wait(Acks::All, Offset(2), "all to 2");

        commit.observe_stable_end(Offset(3));
        commit.high_watermark_mut().observe(A, Offset(3));
        assert_eq!(done(&mut commit), ["leader to 2"]);
        commit.high_watermark_mut().observe(B, Offset(2));
        assert_eq!(done(&mut commit), ["all to 2"]);
        commit.observe_stable_end(Offset(4));
        assert_eq!(done(&mut commit), ["leader to 4"]);
        assert!(done(&mut commit).is_empty());
    }

    #[test]
    fn the_end_of_the_reign_gives_up_all() {
        let mut commit = Commit::new(Offset(0), HighWatermark::new(Offset(0), [A]));
        commit.wait(Acks::Leader, Offset(4), "leader");
        commit.wait(Acks::All, Offset(4), "all");

        assert_eq!(commit.take_all().len(), 2);
        assert!(commit.take_all().is_empty());
    }
}
