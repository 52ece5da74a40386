//! The rule of the high watermark, without I/O.
//!
//! It is the smallest stable end over the in-sync replicas: what lies below it is on every one of
//! them, with the topic's durability met. It never goes back, also when a replica with a shorter
//! log joins the ISR. [`Replica`](super::Replica) feeds it.

use std::collections::BTreeMap;

use thalweg_types::{Offset, SpuId};

/// The high watermark of one partition and what it follows from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HighWatermark {
    offset: Offset,
    /// Of every in-sync replica: the end of what it keeps with the durability met. A replica that
    /// has not said anything yet counts with the start of its log.
    stable_ends: BTreeMap<SpuId, Offset>,
}

impl HighWatermark {
    /// Starts from what was known before, with no replica heard yet.
    #[must_use]
    pub fn new(known: Offset, isr: impl IntoIterator<Item = SpuId>) -> Self {
        Self {
            offset: known,
            stable_ends: isr.into_iter().map(|spu| (spu, Offset::ZERO)).collect(),
        }
    }

    /// The offset below which everything is committed.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.offset
    }

    /// Notes how far `spu` keeps the log, and returns the high watermark. What a replica outside
    /// of the ISR says doesn't count.
    pub fn observe(&mut self, spu: SpuId, stable_end: Offset) -> Offset {
        if let Some(known) = self.stable_ends.get_mut(&spu) {
            *known = stable_end.max(*known);
        }
        self.advance()
    }

    /// Voids what an in-sync replica has said: its process has restarted.
    pub fn forget(&mut self, spu: SpuId) {
        if let Some(known) = self.stable_ends.get_mut(&spu) {
            *known = Offset::ZERO;
        }
    }

    /// Takes over another ISR, with how far each is known to keep the log, and returns the high
    /// watermark.
    pub fn set_isr(&mut self, isr: impl IntoIterator<Item = (SpuId, Offset)>) -> Offset {
        self.stable_ends = isr.into_iter().collect();
        self.advance()
    }

    fn advance(&mut self) -> Offset {
        if let Some(smallest) = self.stable_ends.values().min() {
            self.offset = self.offset.max(*smallest);
        }
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SpuId = SpuId(0);
    const B: SpuId = SpuId(1);

    #[test]
    fn a_lone_leader_commits_what_it_keeps() {
        let mut mark = HighWatermark::new(Offset::ZERO, [A]);

        assert_eq!(mark.observe(A, Offset(5)), Offset(5));
    }

    #[test]
    fn the_slowest_in_sync_replica_decides() {
        let mut mark = HighWatermark::new(Offset::ZERO, [A, B]);

        assert_eq!(mark.observe(A, Offset(9)), Offset(0));
        assert_eq!(mark.observe(B, Offset(4)), Offset(4));
    }

    #[test]
    fn it_never_goes_back() {
        let mut mark = HighWatermark::new(Offset(7), [A]);

        assert_eq!(mark.observe(A, Offset(3)), Offset(7));
        assert_eq!(mark.set_isr([(A, Offset(3)), (B, Offset(0))]), Offset(7));
        assert_eq!(mark.observe(A, Offset(20)), Offset(7));
    }

    #[test]
    fn a_replica_that_leaves_the_isr_holds_nothing_up() {
        let mut mark = HighWatermark::new(Offset::ZERO, [A, B]);
        mark.observe(A, Offset(9));

        assert_eq!(mark.set_isr([(A, Offset(9))]), Offset(9));
    }

    #[test]
    fn replicas_outside_the_isr_do_not_count() {
        let mut mark = HighWatermark::new(Offset::ZERO, [A]);

        assert_eq!(mark.observe(B, Offset(9)), Offset(0));
    }
}
