//! Transforms that keep something between records: it survives whatever happens to the SPU and to who leads, and
//! counts each record once.

use std::collections::BTreeMap;

use thalweg_proto::v1;
use thalweg_record::{BatchBuilder, BatchOptions, batches};
use thalweg_wire::Bytes;

use crate::harness::{leader, try_leader, until};
use crate::setup::{TestSpu, produce_request, produce_to};
use crate::topic_chains::{register, register_as};
use crate::transforms::{again, elect, spu_with_flags, transform, written};

pub(crate) const CHANGELOG: &str = "__transform-3-changelog";

/// The time, the key and the value of a record.
type Timed<'a> = (i64, &'a str, String);

/// An SPU with `t`, `out` and a changelog that is compacted all the time.
pub(crate) async fn spu_with_changelog() -> TestSpu {
    let flags = ["--compaction-interval=20ms"];
    let spu = spu_with_flags(&flags, 1, &[("out", 1)]).await;
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "4096"),
        ("min.cleanable.dirty.ratio", "0"),
        ("durability", "memory"),
    ];
    spu.create_topic(CHANGELOG, 1, &config).await;
    spu
}

fn aggregate(mut transform: v1::Transform, aggregate: v1::Aggregate) -> v1::Transform {
    let spec = transform.spec.as_mut().unwrap();
    spec.chain.as_mut().unwrap().steps[0].aggregate = Some(aggregate);
    transform
}

fn by_key() -> v1::Aggregate {
    v1::Aggregate {
        by_key: true,
        ..v1::Aggregate::default()
    }
}

fn dedup(mut transform: v1::Transform, last: u64) -> v1::Transform {
    transform.spec.as_mut().unwrap().dedup = Some(v1::LookBack {
        last: Some(last),
        age_ms: None,
    });
    transform
}

pub(crate) async fn produce_all(spu: &TestSpu, records: &[Timed<'_>]) {
    let mut client = spu.client().await;
    for chunk in records.chunks(10) {
        let mut batch = BatchBuilder::new(BatchOptions::default());
        for (at_ms, key, value) in chunk {
            let (key, value) = (Some(key.as_bytes()), Some(value.as_bytes()));
            batch.push(*at_ms, key, value, &[]).unwrap();
        }
        let bytes = Bytes::from(batch.build().unwrap());
        let answer = produce_to(&mut client, produce_request("t", 0, bytes)).await;
        assert_eq!(answer.error_code, 0);
    }
}

/// Records of three keys, with the sums that each brings its key to, from those before.
fn counted(
    range: std::ops::Range<i64>,
    sums: &mut BTreeMap<&str, i64>,
) -> (Vec<Timed<'static>>, Vec<String>) {
    let mut records = Vec::new();
    let mut expected = Vec::new();
    for number in range {
        let key = ["a", "b", "c"][usize::try_from(number % 3).unwrap()];
        let sum = sums.entry(key).or_default();
        *sum += number;
        records.push((number, key, number.to_string()));
        expected.push(sum.to_string());
    }
    (records, expected)
}

/// How many records its changelog has.
pub(crate) fn kept(spu: &TestSpu) -> usize {
    let Ok(replica) = try_leader(&spu.spu, CHANGELOG, 0) else {
        return 0;
    };
    let (log, end) = (replica.log(), replica.high_watermark());
    let slice = log.read(log.log_start(), u32::MAX, end).unwrap();
    let bytes = slice.read_bytes().unwrap();
    let counts = batches(&bytes).map(|batch| batch.unwrap().header().record_count);
    counts.map(|count| usize::try_from(count).unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_by_key_go_on_after_restarts_and_under_other_leaders() {
    let mut spu = spu_with_changelog().await;
    register_as(&spu, "sum", v1::SmartModuleKind::Aggregate);
    spu.script
        .set_transform(aggregate(transform("sum", &["out"]), by_key()));
    let (mut sums, mut expected) = (BTreeMap::new(), Vec::new());
    for round in 0..6 {
        let (records, sums_of_round) = counted(round * 100..(round + 1) * 100, &mut sums);
        produce_all(&spu, &records).await;
        expected.extend(sums_of_round);
        match round {
            0 => {}
            1 | 4 => spu = again(spu).await,
            2 => elect(&spu, CHANGELOG).await,
            3 => elect(&spu, "t").await,
            _ => elect(&spu, "out").await,
        }
        assert_eq!(written(&spu, "out", 0, expected.len()).await, expected);
    }
    let told = spu
        .script
        .wait_for_runner(0, |told| told.position == 600 && told.state_entries == 3)
        .await;
    assert!(told.state_bytes > 0);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_often_is_kept_once_and_compacted() {
    let spu = spu_with_changelog().await;
    register_as(&spu, "sum", v1::SmartModuleKind::Aggregate);
    spu.script
        .set_transform(aggregate(transform("sum", &["out"]), by_key()));
    let mut sums = BTreeMap::new();
    let mut count = 0;
    // Until the changelog has been written a few times.
    while kept(&spu) < 30 {
        let from = i64::try_from(count).unwrap();
        let (records, _) = counted(from..from + 300, &mut sums);
        produce_all(&spu, &records).await;
        count += 300;
        written(&spu, "out", 0, count).await;
        if count > 300_000 {
            break;
        }
    }
    let records = kept(&spu);
    assert!(records < count / 3, "{records} kept of {count}");

    let spu = again(spu).await;
    let from = i64::try_from(count).unwrap();
    let (records, expected) = counted(from..from + 30, &mut sums);
    produce_all(&spu, &records).await;
    let written = written(&spu, "out", 0, count + 30).await;
    assert_eq!(written[count..], expected);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_come_out_once_whatever_happens_in_between() {
    let mut spu = spu_with_changelog().await;
    register_as(&spu, "sum", v1::SmartModuleKind::Aggregate);
    let windows = v1::Aggregate {
        window: "tumbling:100ms".to_owned(),
        lateness_ms: 20,
        ..by_key()
    };
    spu.script
        .set_transform(aggregate(transform("sum", &["out"]), windows));
    let mut expected: Vec<(i64, String, i64)> = Vec::new();
    for round in 0..5 {
        let mut sums = BTreeMap::new();
        let (records, _) = counted(round * 100..(round + 1) * 100, &mut sums);
        let closed = sums.into_iter();
        expected.extend(closed.map(|(key, sum)| (round * 100, key.to_owned(), sum)));
        // In the middle of a window.
        let (first, rest) = records.split_at(50);
        produce_all(&spu, first).await;
        match round {
            1 => {
                // Else what is lost would come again with the input.
                let told = spu.script.wait_for_runner(0, |told| told.position == 150);
                told.await;
                let checkpoint = kept(&spu);
                produce_all(&spu, &rest[..10]).await;
                until("the windows are in a checkpoint", || {
                    (kept(&spu) > checkpoint).then_some(())
                })
                .await;
                spu = again(spu).await;
                produce_all(&spu, &rest[10..]).await;
                continue;
            }
            2 => elect(&spu, "t").await,
            _ => {}
        }
        produce_all(&spu, rest).await;
    }
    produce_all(
        &spu,
        &[(520, "a", "1".to_owned()), (3, "a", "1".to_owned())],
    )
    .await;

    assert_eq!(
        written(&spu, "out", 0, expected.len()).await.len(),
        expected.len()
    );
    let told = spu.script.wait_for_runner(0, |told| told.position == 502);
    assert_eq!(told.await.late, 1);
    assert_eq!(windows_of(&spu).await, expected);
    spu.spu.stop().await;
}

/// When each window in the output began, its key and its sum.
async fn windows_of(spu: &TestSpu) -> Vec<(i64, String, i64)> {
    let replica = leader(&spu.spu, "out", 0).await;
    let end = replica.high_watermark();
    let bytes = replica.log().read(thalweg_types::Offset(0), u32::MAX, end);
    let bytes = bytes.unwrap().read_bytes().unwrap();
    let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
    let mut found = Vec::new();
    for batch in batches(&bytes) {
        let batch = batch.unwrap();
        if batch.header().is_control() {
            continue;
        }
        for record in &batch.records(0).unwrap() {
            let record = record.unwrap();
            let start = record.headers.last("thalweg.window.start").unwrap();
            let start = text(start.value).parse().unwrap();
            assert_eq!(record.timestamp_ms, start + 99);
            found.push((start, text(record.key), text(record.value).parse().unwrap()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_came_before_is_left_out_also_after_a_restart() {
    let mut spu = spu_with_changelog().await;
    register(&spu, "shout");
    spu.script
        .set_transform(dedup(transform("shout", &["out"]), 10));
    let keyed = |keys: std::ops::Range<usize>| -> Vec<(i64, String)> {
        keys.map(|number| (0, format!("k{number}"))).collect()
    };
    for range in [0..10, 5..12, 3..5, 0..3] {
        let keys = keyed(range);
        let records: Vec<_> = keys
            .iter()
            .map(|(at_ms, key)| (*at_ms, key.as_str(), key.clone()))
            .collect();
        produce_all(&spu, &records).await;
        spu = again(spu).await;
    }

    // 0 and 1 had made room for 10 and 11, and then 2 for 0.
    let numbers = (0..12).chain(0..3);
    let expected: Vec<_> = numbers.map(|number| format!("K{number}")).collect();
    assert_eq!(written(&spu, "out", 0, expected.len()).await, expected);
    let told = spu.script.wait_for_runner(0, |told| told.position == 22);
    assert_eq!(told.await.state_entries, 10);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_lost_what_was_counted_is_not_written_around() {
    let spu = spu_with_changelog().await;
    register_as(&spu, "sum", v1::SmartModuleKind::Aggregate);
    spu.script
        .set_transform(aggregate(transform("sum", &["out"]), by_key()));
    let (records, expected) = counted(0..30, &mut BTreeMap::new());
    produce_all(&spu, &records).await;
    written(&spu, "out", 0, expected.len()).await;
    until("it is in a checkpoint", || (kept(&spu) > 0).then_some(())).await;

    // As an unclean election may: the end is gone.
    let replica = leader(&spu.spu, "out", 0).await;
    let log = std::sync::Arc::clone(replica.log());
    tokio::task::spawn_blocking(move || log.truncate_to(thalweg_types::Offset(1)))
        .await
        .unwrap()
        .unwrap();
    let spu = again(spu).await;

    let told = spu
        .script
        .wait_for_runner(0, |told| told.state() == v1::TransformRunState::Failed)
        .await;
    assert!(
        told.reason.contains("thalweg transform reset"),
        "{}",
        told.reason
    );
    spu.spu.stop().await;
}
