//! Histories that break one promise each, and one that breaks none.

use std::time::Duration;

use thalweg_types::{Offset, PartitionIndex, TopicPartition};

use super::*;
use crate::history::{Answer, Copied, Counted, Mark, Read, Send, Session};

fn partition() -> TopicPartition {
    TopicPartition {
        topic: "numbers".parse().unwrap(),
        partition: PartitionIndex(0),
    }
}

fn mark(number: u32) -> Mark {
    Mark {
        producer: 1,
        number,
    }
}

fn read(offset: i64, number: u32) -> Read {
    (Offset(offset), Some(mark(number)))
}

fn stored(offset: i64) -> Answer {
    Answer::Stored {
        partition: partition(),
        offset: Some(Offset(offset)),
    }
}

fn unknown() -> Answer {
    Answer::Unknown {
        reason: "it timed out".to_owned(),
    }
}

/// Records 0.. of one producer were answered so, and the log holds these.
fn history(answers: &[Answer], log: &[Read]) -> History {
    let mut history = History::default();
    for (number, answer) in (0..).zip(answers) {
        let send = Send {
            sent_at: Duration::ZERO,
            answer: Some((Duration::from_millis(1), answer.clone())),
        };
        history.sends.insert(mark(number), send);
    }
    history.logs.insert(partition(), log.to_vec());
    history
}

/// Two records are stored and acknowledged.
fn sound() -> History {
    history(&[stored(0), stored(1)], &[read(0, 0), read(1, 1)])
}

fn with_session(mut history: History, reads: &[Read]) -> History {
    let session = Session {
        reader: "reader".to_owned(),
        reads: reads.to_vec(),
    };
    history.sessions.insert(partition(), vec![session]);
    history
}

#[test]
fn a_sound_history_has_no_anomaly() {
    let mut history = with_session(sound(), &[read(0, 0), read(1, 1)]);
    history.ends.insert(
        partition(),
        vec![(Duration::ZERO, Offset(1)), (Duration::ZERO, Offset(2))],
    );

    assert_eq!(check(&history), []);
    assert_eq!(history.acknowledged_count(), 2);
}

#[test]
fn what_may_be_stored_or_not_may_be_either() {
    assert_eq!(check(&history(&[unknown(), stored(0)], &[read(0, 1)])), []);
    assert_eq!(
        check(&history(&[unknown(), stored(1)], &[read(0, 0), read(1, 1)])),
        []
    );
}

#[test]
fn an_acknowledged_record_that_is_not_there_is_lost() {
    let found = check(&history(&[stored(0), stored(1)], &[read(0, 0)]));

    assert_eq!(
        found,
        [Anomaly::Lost {
            partition: partition(),
            mark: mark(1),
            offset: Some(Offset(1))
        }]
    );
}

#[test]
fn an_acknowledged_record_at_another_offset_is_elsewhere() {
    let found = check(&history(&[stored(5)], &[read(0, 0)]));

    let elsewhere = Anomaly::Elsewhere {
        mark: mark(0),
        said: Offset(5),
        found: Offset(0),
        partition: partition(),
    };
    assert_eq!(found, [elsewhere]);
}

#[test]
fn a_record_that_is_there_twice_is_duplicated() {
    let found = check(&history(&[stored(0)], &[read(0, 0), read(1, 0)]));

    let places = [(partition(), Offset(0)), (partition(), Offset(1))];
    assert_eq!(
        found,
        [Anomaly::Duplicated {
            mark: mark(0),
            places
        }]
    );
}

#[test]
fn records_in_another_order_than_they_were_sent_in_are_reordered() {
    let found = check(&history(&[stored(1), stored(0)], &[read(0, 1), read(1, 0)]));

    let reordered = Anomaly::Reordered {
        partition: partition(),
        offset: Offset(1),
        mark: mark(0),
        after: mark(1),
    };
    assert_eq!(found, [reordered]);
}

#[test]
fn what_nobody_sent_and_what_was_refused_must_not_be_there() {
    let refused = Answer::Refused {
        reason: "no".to_owned(),
    };
    let log = [(Offset(0), None), read(1, 7), read(2, 0)];

    let found = check(&history(&[refused], &log));

    let partition = partition();
    assert!(found.contains(&Anomaly::NeverSent {
        partition: partition.clone(),
        offset: Offset(0)
    }));
    assert!(found.contains(&Anomaly::NeverSent {
        partition: partition.clone(),
        offset: Offset(1)
    }));
    assert!(found.contains(&Anomaly::StoredThoughRefused {
        partition,
        offset: Offset(2),
        mark: mark(0)
    }));
}

#[test]
fn offsets_without_a_record_between_others_are_a_gap() {
    let found = check(&history(&[stored(0), stored(2)], &[read(0, 0), read(2, 1)]));

    assert_eq!(
        found,
        [Anomaly::Gap {
            partition: partition(),
            after: Offset(0),
            next: Offset(2)
        }]
    );
}

#[test]
fn what_was_read_and_is_not_in_the_log_was_not_committed() {
    let changed = check(&with_session(sound(), &[read(0, 0), read(1, 9)]));
    let gone = check(&with_session(sound(), &[read(1, 1), read(2, 2)]));

    assert!(matches!(
        &changed[..],
        [Anomaly::UncommittedRead {
            offset: Offset(1),
            log: Some(_),
            ..
        }]
    ));
    assert!(matches!(
        &gone[..],
        [Anomaly::UncommittedRead {
            offset: Offset(2),
            log: None,
            ..
        }]
    ));
}

#[test]
fn a_reader_that_goes_back_or_leaves_something_out_is_found() {
    let answers = [stored(0), stored(1), stored(2)];
    let log = [read(0, 0), read(1, 1), read(2, 2)];

    let back = check(&with_session(
        history(&answers, &log),
        &[read(1, 1), read(0, 0)],
    ));
    let again = check(&with_session(
        history(&answers, &log),
        &[read(1, 1), read(1, 1)],
    ));
    let skipped = check(&with_session(
        history(&answers, &log),
        &[read(0, 0), read(2, 2)],
    ));

    assert!(matches!(&back[..], [Anomaly::ReadBackwards { .. }]));
    assert!(matches!(&again[..], [Anomaly::ReadBackwards { .. }]));
    assert!(matches!(&skipped[..], [Anomaly::ReadSkipped { .. }]));
}

#[test]
fn an_end_that_goes_back_is_found() {
    let mut history = sound();
    let ends = [1, 2, 1, 2].map(|end| (Duration::ZERO, Offset(end)));
    history.ends.insert(partition(), ends.to_vec());

    let back = Anomaly::EndWentBack {
        partition: partition(),
        known: Offset(2),
        told: Offset(1),
    };
    assert_eq!(check(&history), [back]);
}

#[test]
fn copies_that_differ_are_found() {
    let mut history = sound();
    history
        .diverging
        .insert(partition(), vec!["SPU 2".to_owned()]);

    let diverging = Anomaly::Diverging {
        partition: partition(),
        copy: "SPU 2".to_owned(),
    };
    assert_eq!(check(&history), [diverging]);
}

#[test]
fn what_somebody_had_deleted_is_not_missed_and_what_comes_behind_it_is() {
    let trimmed = |log: &[Read]| {
        let answers = [stored(0), stored(1), stored(2), stored(3)];
        let mut history = with_session(history(&answers, log), &[read(0, 0), read(2, 2)]);
        history.trimmed.insert(partition(), Offset(2));
        history
    };

    assert_eq!(check(&trimmed(&[read(2, 2), read(3, 3)])), []);

    let lost = Anomaly::Lost {
        partition: partition(),
        mark: mark(3),
        offset: Some(Offset(3)),
    };
    assert_eq!(check(&trimmed(&[read(2, 2)])), [lost]);
}

/// Two records are stored, and a transform that counts them gave these.
fn counted(counts: &[Option<u64>]) -> History {
    let mut history = sound();
    let to = TopicPartition {
        topic: "counts".parse().unwrap(),
        ..partition()
    };
    history.counts.push(Counted {
        from: partition().topic,
        to: to.topic.clone(),
    });
    history.counted.insert(to, counts.to_vec());
    history
}

#[test]
fn counts_are_each_number_once_up_to_all_records() {
    assert_eq!(check(&counted(&[Some(1), Some(2)])), []);
    let wrong: [&[Option<u64>]; 5] = [
        &[Some(1)],
        &[Some(1), Some(1)],
        &[Some(1), Some(2), Some(2)],
        &[Some(2)],
        &[Some(1), None],
    ];
    for wrong in wrong {
        let anomalies = check(&counted(wrong));
        assert!(
            matches!(anomalies[..], [Anomaly::CountedOtherwise { .. }]),
            "{wrong:?}: {anomalies:?}"
        );
    }
    let mut trimmed = counted(&[Some(2)]);
    let output = trimmed.counted.keys().next().unwrap().clone();
    trimmed.trimmed.insert(output, Offset(1));
    assert_eq!(check(&trimmed), []);
}

#[test]
fn counts_go_back_only_where_somebody_had_records_of_the_input_deleted() {
    for (counts, may_be) in [([1, 2, 3, 2], true), ([1, 2, 4, 5], false)] {
        let mut history = counted(&counts.map(Some));
        assert_ne!(check(&history), []);
        history.trimmed.insert(partition(), Offset(1));

        assert_eq!(check(&history).is_empty(), may_be, "{counts:?}");
    }
}

/// Two records are stored, and a transform's one output partition has these.
fn copied(reads: &[Read]) -> History {
    let mut history = sound();
    let to = TopicPartition {
        topic: "copies".parse().unwrap(),
        ..partition()
    };
    history.copies.push(Copied {
        from: partition().topic,
        to: to.topic.clone(),
        partition_count: 1,
    });
    history.copied.insert(to, reads.to_vec());
    history
}

#[test]
fn a_transform_s_output_is_what_its_input_is() {
    assert_eq!(check(&copied(&[read(0, 0), read(7, 1)])), []);
    for wrong in [&[read(0, 0)][..], &[read(0, 1), read(1, 0)], &[read(0, 1)]] {
        let anomalies = check(&copied(wrong));
        assert!(
            matches!(anomalies[..], [Anomaly::CopiedOtherwise { .. }]),
            "{anomalies:?}"
        );
    }
    let mut trimmed = copied(&[read(3, 1)]);
    let output = trimmed.copied.keys().next().unwrap().clone();
    trimmed.trimmed.insert(output, Offset(3));
    assert_eq!(check(&trimmed), []);
    let twice = check(&copied(&[read(0, 0), read(1, 1), read(2, 1)]));
    assert!(
        twice
            .iter()
            .any(|anomaly| matches!(anomaly, Anomaly::CopiedTwice { .. }))
    );
    let unknown = check(&copied(&[read(0, 0), read(1, 1), read(2, 9)]));
    assert!(
        matches!(unknown[..], [Anomaly::NeverSent { .. }]),
        "{unknown:?}"
    );
}
