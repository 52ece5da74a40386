//! The records, against their page and against themselves.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use thalweg_types::TopicId;
use uuid::Uuid;

use super::*;

const PAGE: &str = include_str!("../../../../docs/formats/consumer-offsets.md");

fn example(name: &str) -> Vec<u8> {
    let start = format!("```hex {name}\n");
    let (_, rest) = PAGE.split_once(&start).unwrap();
    let (block, _) = rest.split_once("```").unwrap();
    block
        .split_whitespace()
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn documented_offset() -> GroupRecord {
    GroupRecord::Offset {
        group: "readers".into(),
        topic: "flights".parse().unwrap(),
        partition: PartitionIndex(2),
        committed: Some(CommittedOffset {
            offset: 77,
            leader_epoch: 5,
            metadata: "why".into(),
            commit_ms: 1_700_000_000_000,
            topic: Some(TopicId(Uuid::from_u128(7))),
        }),
    }
}

fn documented_group() -> GroupRecord {
    GroupRecord::Classic {
        group: "readers".into(),
        stored: Some(StoredGroup {
            protocol_type: "consumer".to_owned(),
            generation: 4,
            protocol: Some("range".to_owned()),
            leader: Some("a-1".to_owned()),
            state_since_ms: Some(1_700_000_000_000),
            members: vec![StoredMember {
                member_id: "a-1".to_owned(),
                instance_id: None,
                client_id: "a".to_owned(),
                client_host: "/127.0.0.1".to_owned(),
                rebalance_timeout_ms: 300_000,
                session_timeout_ms: 45_000,
                subscription: Bytes::from_static(&[1, 2]),
                assignment: Bytes::from_static(&[3]),
            }],
        }),
    }
}

fn documented_current() -> GroupRecord {
    let assignment = |partitions: &[i32]| {
        let partitions = partitions.iter().copied().collect();
        [(TopicId(Uuid::from_u128(7)), partitions)].into()
    };
    GroupRecord::Consumer {
        group: "readers".into(),
        record: ConsumerRecord::Current {
            member: "m-1".to_owned(),
            current: Some(StoredCurrent {
                epoch: 5,
                previous_epoch: 4,
                state: MemberState::Revoking,
                assigned: assignment(&[0, 1]),
                pending_revocation: assignment(&[2]),
            }),
        },
    }
}

#[test]
fn the_documented_records_are_read_and_written() {
    for (name, record) in [
        ("offset", documented_offset()),
        ("group", documented_group()),
        ("current", documented_current()),
    ] {
        let (key, value) = (example(name), example(&format!("{name}-value")));

        let read = GroupRecord::read(&key, Some(&value)).unwrap();

        assert_eq!(read.as_ref(), Some(&record));
        assert_eq!((record.key(), record.value()), (key, Some(value)));
    }
}

#[test]
fn a_record_that_is_cut_off_or_newer_is_refused() {
    for (name, newer) in [("offset", 5), ("group", 4), ("current", 1)] {
        let (key, mut value) = (example(name), example(&format!("{name}-value")));
        // The last byte of the current state says that no tagged fields follow, which nobody needs.
        for end in 0..value.len() - 1 {
            assert!(GroupRecord::read(&key, Some(&value[..end])).is_err());
        }
        for end in 0..key.len() {
            assert!(GroupRecord::read(&key[..end], Some(&value)).is_err());
        }
        value[1] = newer;
        let error = GroupRecord::read(&key, Some(&value)).unwrap_err();
        assert!(error.to_string().contains("upgrade"), "{error}");
    }
}

#[test]
fn what_a_later_version_adds_is_left_alone() {
    assert_eq!(GroupRecord::read(&[0, 99, 1, 2, 3], None), Ok(None));
    let key = [0, 99, 0, 1, b'g'];
    assert_eq!(GroupRecord::read(&key, Some(&[9, 9, 9])), Ok(None));
}

#[test]
fn what_older_versions_wrote_is_read() {
    // Version 1: no leader epoch, and a time to expire.
    let mut value = vec![0, 1];
    value.extend(77_i64.to_be_bytes());
    value.extend([0, 3]);
    value.extend(b"why");
    value.extend(9_i64.to_be_bytes());
    value.extend(10_i64.to_be_bytes());

    let read = GroupRecord::read(&example("offset"), Some(&value)).unwrap();

    let committed = CommittedOffset {
        offset: 77,
        leader_epoch: -1,
        metadata: "why".into(),
        commit_ms: 9,
        topic: None,
    };
    assert!(
        matches!(read, Some(GroupRecord::Offset { committed: Some(read), .. }) if read == committed)
    );
}

proptest! {
    #[test]
    fn offsets_survive_the_round_trip(
        group in "\\PC{1,40}",
        topic in "[a-z]{1,20}",
        partition: i32,
        offset: i64,
        leader_epoch: i32,
        metadata: String,
        commit_ms: i64,
        id: Option<u128>,
        is_tombstone: bool,
    ) {
        let committed = CommittedOffset {
            offset,
            leader_epoch,
            metadata: Arc::from(metadata),
            commit_ms,
            topic: id.map(|id| TopicId(Uuid::from_u128(id))),
        };
        let record = GroupRecord::Offset {
            group: group.into(),
            topic: topic.parse().unwrap(),
            partition: PartitionIndex(partition),
            committed: (!is_tombstone).then_some(committed),
        };

        let read = GroupRecord::read(&record.key(), record.value().as_deref()).unwrap();

        prop_assert_eq!(read, Some(record));
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(key: Vec<u8>, value: Vec<u8>, kind in 0_u8..10) {
        let _ = GroupRecord::read(&key, Some(&value));
        let key = [&[0, kind][..], &key].concat();
        let _ = GroupRecord::read(&key, Some(&value));
        for name in ["offset", "group", "current"] {
            for version in 0..6 {
                let value = [&[0, version][..], &value].concat();
                let _ = GroupRecord::read(&example(name), Some(&value));
            }
        }
    }
}
