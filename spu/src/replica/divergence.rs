//! Where two copies of a log part, by their leader epochs (KIP-101, KIP-595). Pure.
//!
//! A follower names the epoch of its last batch and its log's end. The leader looks where that epoch
//! ended in its own log: when it knows only older ones, or a smaller end, the logs part. The follower
//! then looks where the epoch that the leader named ended in its own log, and cuts off what comes
//! after both ends. Where epochs were skipped that takes several turns.

use thalweg_types::{LeaderEpoch, Offset};

/// Says, at the leader, whether a log that ends at `log_end` with a batch of `last_epoch` parts from
/// its own, in which the newest epoch that is not after `last_epoch` is `known` and ended so: then it
/// is what the follower is told.
pub(crate) fn parting(
    last_epoch: LeaderEpoch,
    log_end: Offset,
    known: (LeaderEpoch, Offset),
) -> Option<(LeaderEpoch, Offset)> {
    let (epoch, end) = known;
    (epoch < last_epoch || end < log_end).then_some(known)
}

/// Up to where a follower's log agrees with its leader's as far as is known: the leader has told of an
/// epoch and its end, and in the follower's log the newest epoch that is not after that one is
/// `known` and ended so.
pub(crate) fn agreed_end(told: (LeaderEpoch, Offset), known: (LeaderEpoch, Offset)) -> Offset {
    match known {
        (LeaderEpoch::UNKNOWN, _) => told.1,
        (_, known_end) => known_end.min(told.1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: i32, end: i64) -> (LeaderEpoch, Offset) {
        (LeaderEpoch(epoch), Offset(end))
    }

    #[test]
    fn a_log_that_the_leader_knows_all_of_does_not_part() {
        assert_eq!(parting(LeaderEpoch(2), Offset(5), at(2, 5)), None);
        assert_eq!(parting(LeaderEpoch(2), Offset(5), at(2, 9)), None);
    }

    #[test]
    fn a_longer_epoch_and_one_that_the_leader_does_not_know_part() {
        assert_eq!(parting(LeaderEpoch(2), Offset(5), at(2, 4)), Some(at(2, 4)));
        assert_eq!(parting(LeaderEpoch(2), Offset(5), at(1, 9)), Some(at(1, 9)));
    }

    #[test]
    fn both_agree_up_to_the_smaller_end() {
        assert_eq!(agreed_end(at(2, 4), at(2, 7)), Offset(4));
        assert_eq!(agreed_end(at(2, 7), at(1, 3)), Offset(3));
        assert_eq!(
            agreed_end(at(2, 4), at(LeaderEpoch::UNKNOWN.0, -1)),
            Offset(4)
        );
    }
}
