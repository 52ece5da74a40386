//! The order of one partition's batches, as a pure state machine: which may be sent, with which
//! sequence, and what an answer means.
//!
//! The leader stores a batch only when its sequence follows the last one that it stored, and
//! answers a repeated one as it did the first time. From that follow the rules here:
//!
//! - A batch keeps its sequence for as long as it may be stored: a retry is then harmless.
//! - Once a batch must be sent again, nothing new is sent until every answer under way has come;
//!   then all that are left go again, in their order. So order is kept.
//! - A batch that is given up leaves a *hole*: those behind it are refused as out of order, which
//!   proves that they are not stored. Only then the epoch is bumped and they are numbered anew.
//!
//! - A leader that knows nothing of a producer takes whatever comes first as its beginning, and what
//!   comes before that in sequence, later, as stored long ago. So until it has stored a batch, one goes
//!   at a time: the first may be refused in the moment before a new topic's leader is ready.
//!
//! Without an identity (not idempotent) the same machine runs with one batch at a time. Where an
//! answer says something of all batches before it ([`SendOrder::in_order`]), one that came while an
//! earlier batch failed counts as none: both are sent again.

use std::collections::VecDeque;

use thalweg_types::{NO_SEQUENCE, ProducerEpoch, ProducerId, next_sequence};

/// Names one batch of a partition. Grows with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BatchNumber(u64);

/// Who wrote a batch, and where it stands in that producer's order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub(crate) producer_id: ProducerId,
    pub(crate) epoch: ProducerEpoch,
    pub(crate) sequence: i32,
}

/// What became of one attempt to send a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// The leader holds it, from this attempt or an earlier one.
    Stored,
    /// The leader refused it, and would again. It is not stored.
    Refused,
    /// It may succeed later.
    Failed {
        /// Whether this attempt may have stored it.
        maybe_stored: bool,
    },
    /// Its sequence does not follow the last that the leader stored. It is not stored.
    OutOfOrder,
    /// The leader has forgotten this producer.
    UnknownProducer,
}

/// What to do with the batch that an answer was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is delivered.
    Delivered,
    /// It failed for good, and is not stored.
    Refused,
    /// It failed for good, and may be stored.
    OutcomeUnknown,
    /// It waits for [`SendOrder::resume`].
    SendAgain,
}

/// What goes out once every answer has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resume {
    /// These, in this order.
    Send(Vec<(BatchNumber, Stamp)>),
    /// This one failed for good: the leader lost acknowledged records before it.
    Lost(BatchNumber, Stamp),
    /// A new producer id is needed first: the epochs of this one are used up.
    NewIdentity,
}

/// The order of one partition's batches.
#[derive(Debug)]
pub(crate) struct SendOrder {
    identity: Option<(ProducerId, ProducerEpoch)>,
    in_flight_max: usize,
    /// Whether the leader has stored a batch of this producer id.
    is_known: bool,
    next_number: u64,
    next_sequence: i32,
    /// Sent and not yet settled, in order.
    unsettled: VecDeque<Unsettled>,
    /// Whether the batch that is started next follows one that was given up.
    next_follows_hole: bool,
    /// Whether batches are settled as stored in their order only.
    is_in_order: bool,
}

#[derive(Debug)]
struct Unsettled {
    number: BatchNumber,
    stamp: Stamp,
    record_count: i32,
    under_way: bool,
    attempts: u32,
    /// Whether an attempt may have stored it.
    maybe_stored: bool,
    /// Whether the last attempt proved that it is not stored.
    out_of_order: bool,
    /// Whether the one before it was given up, and therefore may not be stored.
    follows_hole: bool,
}

impl SendOrder {
    /// The order of a partition that nothing was sent to. `None` is not idempotent.
    pub(crate) fn new(identity: Option<(ProducerId, ProducerEpoch)>, in_flight_max: usize) -> Self {
        Self {
            identity,
            in_flight_max: if identity.is_some() {
                in_flight_max.clamp(1, 5)
            } else {
                1
            },
            is_known: false,
            next_number: 0,
            next_sequence: 0,
            unsettled: VecDeque::new(),
            next_follows_hole: false,
            is_in_order: false,
        }
    }

    /// With batches that are stored only once all before them are settled.
    pub(crate) fn in_order(self, is_in_order: bool) -> Self {
        Self {
            is_in_order,
            ..self
        }
    }

    /// Whether every batch before `number` is settled.
    pub(crate) fn is_oldest(&self, number: BatchNumber) -> bool {
        self.position(number) == Some(0)
    }

    /// How many batches were sent and are not settled.
    pub(crate) fn unsettled_count(&self) -> usize {
        self.unsettled.len()
    }

    /// Whether a new batch may be sent now.
    ///
    /// Never more than five beyond the oldest that is unsettled, also when those between have been
    /// stored: the leader would forget the oldest, and take its repetition for a gap.
    pub(crate) fn may_start(&self) -> bool {
        let window = |oldest: &Unsettled| self.next_number - oldest.number.0;
        let in_flight_max = if self.is_known { self.in_flight_max } else { 1 } as u64;
        self.unsettled.front().map_or(0, window) < in_flight_max
            && self.unsettled.iter().all(|batch| batch.under_way)
            && !self.needs_identity()
    }

    /// Whether everything sent has been answered and something must be sent again.
    pub(crate) fn may_resume(&self) -> bool {
        let idle = self.unsettled.iter().all(|batch| !batch.under_way);
        idle && (!self.unsettled.is_empty() || self.needs_identity())
    }

    /// Takes in a new batch, which is sent now.
    pub(crate) fn start(&mut self, record_count: i32) -> (BatchNumber, Stamp) {
        assert!(self.may_start(), "the caller must ask first");
        if self.next_follows_hole && self.unsettled.is_empty() {
            // Nothing is under way that could still be stored in the old epoch and then again.
            self.bump_epoch();
        }
        let number = BatchNumber(self.next_number);
        self.next_number += 1;
        let stamp = self.next_stamp(record_count);
        self.unsettled.push_back(Unsettled {
            number,
            stamp,
            record_count,
            under_way: true,
            attempts: 1,
            maybe_stored: false,
            out_of_order: false,
            follows_hole: std::mem::take(&mut self.next_follows_hole),
        });
        (number, stamp)
    }

    /// Takes in what became of an attempt.
    pub(crate) fn settle(&mut self, number: BatchNumber, attempt: Attempt) -> Verdict {
        let Some(position) = self.position(number) else {
            // Given up while it was under way.
            return Verdict::SendAgain;
        };
        let attempt = match attempt {
            Attempt::Stored if self.is_in_order && position > 0 => {
                Attempt::Failed { maybe_stored: true }
            }
            attempt => attempt,
        };
        let batch = &mut self.unsettled[position];
        batch.under_way = false;
        batch.out_of_order = attempt == Attempt::OutOfOrder;
        self.is_known &= attempt != Attempt::UnknownProducer;
        match attempt {
            Attempt::Stored => {
                self.is_known = true;
                self.unsettled.remove(position);
                Verdict::Delivered
            }
            Attempt::Refused => {
                self.leave_hole(position);
                Verdict::Refused
            }
            Attempt::Failed { maybe_stored } => {
                batch.maybe_stored |= maybe_stored;
                Verdict::SendAgain
            }
            Attempt::OutOfOrder => {
                batch.maybe_stored = false;
                Verdict::SendAgain
            }
            Attempt::UnknownProducer if batch.maybe_stored => {
                self.leave_hole(position);
                Verdict::OutcomeUnknown
            }
            Attempt::UnknownProducer => {
                batch.out_of_order = true;
                batch.follows_hole = true;
                Verdict::SendAgain
            }
        }
    }

    /// Takes a batch out whose time is up. Says whether it may be stored.
    pub(crate) fn give_up(&mut self, number: BatchNumber) -> bool {
        let Some(position) = self.position(number) else {
            return false;
        };
        let batch = &self.unsettled[position];
        let maybe_stored = batch.under_way || batch.maybe_stored;
        self.leave_hole(position);
        maybe_stored
    }

    /// What goes out now that every answer has come.
    pub(crate) fn resume(&mut self) -> Resume {
        assert!(self.may_resume(), "the caller must ask first");
        match self.unsettled.front() {
            None => return Resume::NewIdentity,
            Some(head) if head.out_of_order && head.follows_hole => {
                // The first is not stored, so none behind it is: all may be numbered anew.
                if self.epochs_used_up() {
                    return Resume::NewIdentity;
                }
                self.bump_epoch();
            }
            Some(head) if head.out_of_order && head.attempts > 1 => {
                let (number, stamp) = (head.number, head.stamp);
                self.leave_hole(0);
                return Resume::Lost(number, stamp);
            }
            Some(_) => {}
        }
        let count = if self.is_known { usize::MAX } else { 1 };
        for batch in self.unsettled.iter_mut().take(count) {
            batch.under_way = true;
            batch.out_of_order = false;
            batch.attempts += 1;
        }
        let batches = self.unsettled.iter().take(count);
        Resume::Send(batches.map(|batch| (batch.number, batch.stamp)).collect())
    }

    /// Goes on under a new identity, after [`Resume::NewIdentity`].
    pub(crate) fn renew(&mut self, producer_id: ProducerId, epoch: ProducerEpoch) {
        self.identity = Some((producer_id, epoch));
        self.is_known = false;
        self.number_anew();
    }

    fn position(&self, number: BatchNumber) -> Option<usize> {
        self.unsettled
            .iter()
            .position(|batch| batch.number == number)
    }

    fn next_stamp(&mut self, record_count: i32) -> Stamp {
        match self.identity {
            Some((producer_id, epoch)) => {
                let sequence = self.next_sequence;
                self.next_sequence = next_sequence(sequence, record_count);
                Stamp {
                    producer_id,
                    epoch,
                    sequence,
                }
            }
            None => Stamp {
                producer_id: ProducerId::NONE,
                epoch: ProducerEpoch::NONE,
                sequence: NO_SEQUENCE,
            },
        }
    }

    fn epochs_used_up(&self) -> bool {
        self.identity.is_some_and(|(_, epoch)| epoch.0 == i16::MAX)
    }

    fn bump_epoch(&mut self) {
        if let Some((_, epoch)) = &mut self.identity {
            epoch.0 += 1;
        }
        self.number_anew();
    }

    /// Numbers what is left from 0. Only where none of it is stored.
    fn number_anew(&mut self) {
        self.next_sequence = 0;
        self.next_follows_hole = false;
        for index in 0..self.unsettled.len() {
            let stamp = self.next_stamp(self.unsettled[index].record_count);
            let batch = &mut self.unsettled[index];
            batch.stamp = stamp;
            batch.maybe_stored = false;
            batch.out_of_order = false;
            batch.follows_hole = false;
        }
    }

    /// Takes out a batch that is not known to be stored.
    fn leave_hole(&mut self, position: usize) {
        self.unsettled.remove(position);
        match self.unsettled.get_mut(position) {
            Some(next) => next.follows_hole = true,
            None => self.next_follows_hole = true,
        }
    }

    /// Whether nothing can be sent before there is a new producer id.
    fn needs_identity(&self) -> bool {
        self.next_follows_hole && self.unsettled.is_empty() && self.epochs_used_up()
    }
}

#[cfg(test)]
mod tests;
