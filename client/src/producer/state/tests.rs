use proptest::prelude::*;

use super::*;

const ID: ProducerId = ProducerId(7);
const FAILED: Attempt = Attempt::Failed { maybe_stored: true };

fn new() -> SendOrder {
    SendOrder::new(Some((ID, ProducerEpoch(0))), 5)
}

/// With a leader that knows the producer.
fn idempotent() -> SendOrder {
    SendOrder {
        is_known: true,
        ..new()
    }
}

fn sequences(resume: &Resume) -> Vec<(i16, i32)> {
    match resume {
        Resume::Send(batches) => batches
            .iter()
            .map(|(_, stamp)| (stamp.epoch.0, stamp.sequence))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sequences_count_records_and_five_batches_may_be_under_way() {
    let mut order = idempotent();

    let stamps: Vec<_> = (0..5).map(|_| order.start(10).1.sequence).collect();

    assert_eq!(stamps, [0, 10, 20, 30, 40]);
    assert!(!order.may_start());
}

#[test]
fn to_a_leader_that_knows_nothing_of_the_producer_one_batch_goes_at_a_time() {
    let mut order = new();
    let (first, _) = order.start(10);
    // Were another sent, a leader that refused the first, and is ready now, would begin with that.
    assert!(!order.may_start());
    let refused = Attempt::Failed {
        maybe_stored: false,
    };
    order.settle(first, refused);
    assert_eq!(sequences(&order.resume()), [(0, 0)]);
    order.settle(first, Attempt::Stored);

    let (second, _) = order.start(10);
    let (third, _) = order.start(10);

    // And so it is once the leader has forgotten the producer.
    order.settle(second, Attempt::UnknownProducer);
    order.settle(third, Attempt::UnknownProducer);
    assert_eq!(sequences(&order.resume()), [(1, 0)]);
    order.settle(second, Attempt::Stored);
    assert_eq!(sequences(&order.resume()), [(1, 10)]);
}

#[test]
fn without_an_identity_one_batch_is_under_way_at_a_time() {
    let mut order = SendOrder::new(None, 5);

    let (number, stamp) = order.start(10);

    assert_eq!(stamp.sequence, NO_SEQUENCE);
    assert!(!order.may_start());
    assert_eq!(order.settle(number, Attempt::Stored), Verdict::Delivered);
    assert!(order.may_start());
}

#[test]
fn after_a_failure_nothing_new_goes_out_until_all_answers_have_come_and_then_all_in_order() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    let (second, _) = order.start(1);
    let (third, _) = order.start(1);

    assert_eq!(order.settle(first, FAILED), Verdict::SendAgain);
    assert!(!order.may_start());
    assert!(!order.may_resume());
    order.settle(second, Attempt::OutOfOrder);
    order.settle(third, Attempt::OutOfOrder);

    assert!(order.may_resume());
    assert_eq!(sequences(&order.resume()), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_retry_keeps_its_sequence_and_those_delivered_meanwhile_are_left_out() {
    let mut order = idempotent();
    let (first, _) = order.start(2);
    let (second, _) = order.start(3);
    order.settle(first, Attempt::Stored);

    order.settle(second, FAILED);

    assert_eq!(sequences(&order.resume()), [(0, 2)]);
    assert_eq!(order.start(1).1.sequence, 5);
}

#[test]
fn nothing_is_sent_so_far_ahead_of_an_open_batch_that_the_leader_would_forget_it() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    let rest: Vec<_> = (1..5).map(|_| order.start(1).0).collect();
    order.settle(first, FAILED);
    for number in rest {
        order.settle(number, Attempt::Stored);
    }

    assert_eq!(sequences(&order.resume()), [(0, 0)]);
    assert!(!order.may_start());
    order.settle(first, Attempt::Stored);
    assert!(order.may_start());
}

#[test]
fn behind_a_refused_batch_those_out_of_order_are_numbered_anew_in_the_next_epoch() {
    let mut order = idempotent();
    let (first, _) = order.start(2);
    let (second, _) = order.start(3);
    let (third, _) = order.start(4);

    assert_eq!(order.settle(first, Attempt::Refused), Verdict::Refused);
    order.settle(second, Attempt::OutOfOrder);
    order.settle(third, Attempt::OutOfOrder);

    assert_eq!(sequences(&order.resume()), [(1, 0), (1, 3)]);
    assert_eq!(order.start(1).1.sequence, 7);
}

#[test]
fn behind_a_batch_given_up_the_old_sequence_is_tried_first_because_it_may_be_stored() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    let (second, _) = order.start(1);
    order.settle(first, FAILED);
    order.settle(second, FAILED);

    assert!(order.give_up(first), "its outcome is unknown");
    assert_eq!(sequences(&order.resume()), [(0, 1)]);
    order.settle(second, Attempt::OutOfOrder);

    assert_eq!(sequences(&order.resume()), [(1, 0)]);
}

#[test]
fn a_batch_given_up_that_was_stored_after_all_leaves_no_hole() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    let (second, _) = order.start(1);
    order.settle(first, FAILED);
    order.settle(second, FAILED);
    order.give_up(first);
    order.resume();

    order.settle(second, Attempt::Stored);

    assert_eq!(
        order.start(1).1,
        Stamp {
            producer_id: ID,
            epoch: ProducerEpoch(0),
            sequence: 2
        }
    );
}

#[test]
fn with_nothing_under_way_the_epoch_is_bumped_at_once() {
    let mut order = idempotent();
    let (first, _) = order.start(5);
    order.settle(first, FAILED);
    order.give_up(first);

    assert_eq!(
        order.start(1).1,
        Stamp {
            producer_id: ID,
            epoch: ProducerEpoch(1),
            sequence: 0
        }
    );
}

#[test]
fn out_of_order_without_a_hole_means_that_the_leader_lost_records() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    order.settle(first, Attempt::Stored);
    let (second, _) = order.start(1);

    order.settle(second, Attempt::OutOfOrder);
    assert_eq!(sequences(&order.resume()), [(0, 1)], "once more, in case");
    order.settle(second, Attempt::OutOfOrder);

    assert!(matches!(order.resume(), Resume::Lost(number, _) if number == second));
    assert_eq!(order.start(1).1.epoch, ProducerEpoch(1));
}

#[test]
fn a_forgotten_producer_goes_on_in_a_new_epoch_only_with_what_was_surely_not_stored() {
    let mut order = idempotent();
    let (first, _) = order.start(1);
    order.settle(first, Attempt::UnknownProducer);
    assert_eq!(sequences(&order.resume()), [(1, 0)]);

    order.settle(first, FAILED);
    order.resume();
    assert_eq!(
        order.settle(first, Attempt::UnknownProducer),
        Verdict::OutcomeUnknown
    );
}

#[test]
fn the_last_epoch_is_followed_by_a_new_producer_id() {
    let mut order = SendOrder::new(Some((ID, ProducerEpoch(i16::MAX))), 5);
    let (first, _) = order.start(1);
    order.settle(first, FAILED);
    order.give_up(first);

    assert!(!order.may_start());
    assert_eq!(order.resume(), Resume::NewIdentity);
    order.renew(ProducerId(8), ProducerEpoch(0));

    assert_eq!(order.start(1).1.producer_id, ProducerId(8));
}

/// A leader as Kafka's rules have it: stores what follows, repeats what it remembers.
#[derive(Default)]
struct ModelLeader {
    epoch: i16,
    next: i32,
    recent: VecDeque<(i32, BatchNumber)>,
    log: Vec<BatchNumber>,
}

impl ModelLeader {
    fn append(&mut self, number: BatchNumber, stamp: Stamp) -> Attempt {
        if stamp.epoch.0 > self.epoch {
            self.epoch = stamp.epoch.0;
            self.next = 0;
            self.recent.clear();
        }
        assert_eq!(
            stamp.epoch.0, self.epoch,
            "an old epoch must not come after a new one"
        );
        if self
            .recent
            .iter()
            .any(|(sequence, _)| *sequence == stamp.sequence)
        {
            return Attempt::Stored;
        }
        if stamp.sequence != self.next {
            return Attempt::OutOfOrder;
        }
        self.next += 1;
        self.recent.push_back((stamp.sequence, number));
        if self.recent.len() > 5 {
            self.recent.pop_front();
        }
        self.log.push(number);
        Attempt::Stored
    }
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    /// Stored, but the answer is lost.
    AnswerLost,
    /// Lost on the way, with all that follow on the connection.
    Lost,
    Refused,
    NotNow,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        6 => Just(Fate::Arrives),
        2 => Just(Fate::AnswerLost),
        2 => Just(Fate::Lost),
        1 => Just(Fate::Refused),
        2 => Just(Fate::NotNow),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever happens to requests and answers, the log has no batch twice, keeps their order,
    /// and has every batch that was reported as delivered.
    #[test]
    fn no_batch_is_stored_twice_or_out_of_order(
        fates in prop::collection::vec((fate(), 0_u8..10), 1..200),
    ) {
        let mut order = idempotent();
        let mut leader = ModelLeader::default();
        let mut delivered = Vec::new();
        let mut fates = fates.into_iter();
        'rounds: loop {
            let mut round = Vec::new();
            if order.may_resume() {
                match order.resume() {
                    Resume::Send(batches) => round = batches,
                    Resume::Lost(..) => prop_assert!(false, "this leader loses nothing"),
                    Resume::NewIdentity => unreachable!("too few epochs"),
                }
            }
            while order.may_start() {
                round.push(order.start(1));
            }
            let mut broken = false;
            let mut answers = Vec::new();
            for (number, stamp) in round {
                let Some((fate, patience)) = fates.next() else { break 'rounds };
                let attempt = match fate {
                    _ if broken => FAILED,
                    Fate::Arrives => leader.append(number, stamp),
                    Fate::Refused => Attempt::Refused,
                    Fate::NotNow => Attempt::Failed { maybe_stored: false },
                    Fate::AnswerLost => { leader.append(number, stamp); broken = true; FAILED }
                    Fate::Lost => { broken = true; FAILED }
                };
                // A batch that the leader would refuse is refused only while it is not stored.
                let attempt = match attempt {
                    Attempt::Refused if leader.log.contains(&number) => leader.append(number, stamp),
                    other => other,
                };
                answers.push((number, attempt, patience));
            }
            for (number, attempt, patience) in answers {
                match order.settle(number, attempt) {
                    Verdict::Delivered => delivered.push(number),
                    Verdict::SendAgain if patience == 0 => { order.give_up(number); }
                    _ => {}
                }
            }
        }
        let mut sorted = leader.log.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(&sorted, &leader.log, "twice or out of order");
        for number in delivered {
            prop_assert!(leader.log.contains(&number));
        }
    }
}

#[test]
fn in_order_what_is_stored_behind_a_failed_batch_goes_again_with_it() {
    let mut order = idempotent().in_order(true);
    let [(first, _), (second, _), (third, _)] = [(); 3].map(|()| order.start(1));
    assert!(order.is_oldest(first) && !order.is_oldest(second));

    assert_eq!(order.settle(first, Attempt::Stored), Verdict::Delivered);
    assert_eq!(order.settle(second, FAILED), Verdict::SendAgain);
    assert_eq!(order.settle(third, Attempt::Stored), Verdict::SendAgain);

    assert_eq!(sequences(&order.resume()), [(0, 1), (0, 2)]);
    assert_eq!(order.settle(second, Attempt::Stored), Verdict::Delivered);
    assert_eq!(order.settle(third, Attempt::Stored), Verdict::Delivered);
}
