//! Topics that keep duplicates out: by what the log has, whoever leads and whatever was refused in between.

use std::collections::{BTreeMap, VecDeque};

use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_types::{Offset, ProducerEpoch, ProducerId};
use thalweg_wire::Bytes;

use crate::client::RawClient;
use crate::harness::{leader, values};
use crate::setup::{TestSpu, produce_request, produce_to};
use crate::transforms::{again, elect};

/// The time and the key of a record.
type Keyed = (i64, &'static str);

fn batch(options: BatchOptions, records: &[Keyed], first: usize) -> Bytes {
    let mut builder = BatchBuilder::new(options);
    for (number, (at_ms, key)) in records.iter().enumerate() {
        let value = (first + number).to_string();
        let key = (!key.is_empty()).then_some(key.as_bytes());
        builder
            .push(*at_ms, key, Some(value.as_bytes()), &[])
            .unwrap();
    }
    Bytes::from(builder.build().unwrap())
}

async fn send(client: &mut RawClient, bytes: Bytes) -> (i16, i64) {
    let answer = produce_to(client, produce_request("d", 0, bytes)).await;
    (answer.error_code, answer.base_offset)
}

async fn spu_with_dedup(bounds: &str) -> TestSpu {
    let spu = TestSpu::start_with(&[]).await;
    let config = [("durability", "memory"), ("dedup", bounds)];
    spu.create_topic("d", 1, &config).await;
    spu
}

/// The numbers of the records that a topic keeps, by the definition.
fn kept(records: &[Keyed], last: usize, age_ms: i64) -> Vec<String> {
    let (mut seen, mut time_ms) = (VecDeque::<Keyed>::new(), i64::MIN);
    let mut kept = Vec::new();
    for (number, (at_ms, key)) in records.iter().enumerate() {
        let now_ms = time_ms.max(*at_ms);
        let is_young = |one: &Keyed| one.0 + age_ms >= now_ms;
        if key.is_empty() {
            kept.push(number.to_string());
            time_ms = now_ms;
            seen.retain(is_young);
            continue;
        }
        if seen.iter().any(|one| one.1 == *key && is_young(one)) {
            continue;
        }
        kept.push(number.to_string());
        time_ms = now_ms;
        seen.retain(is_young);
        seen.push_back((*at_ms, key));
        if seen.len() > last {
            seen.pop_front();
        }
        seen.retain(is_young);
    }
    kept
}

/// Records of a few keys whose times jump forth and back.
fn jumping(count: i64) -> Vec<Keyed> {
    let keys = ["a", "b", "c", "d", "e", ""];
    let mut state: u64 = 7;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        usize::try_from(state >> 33).unwrap()
    };
    let times = (0..count).map(|number| number * 10);
    times
        .map(|at_ms| {
            let key = keys[next() % keys.len()];
            (at_ms + i64::try_from(next() % 100).unwrap(), key)
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_is_the_same_after_restarts_and_under_other_leaders() {
    for (bounds, last, age_ms) in [
        ("last=3", 3, i64::from(i32::MAX)),
        ("age=120ms", usize::MAX, 120),
        ("last=4,age=200ms", 4, 200),
    ] {
        let mut spu = spu_with_dedup(bounds).await;
        let records = jumping(300);
        for (round, chunk) in records.chunks(10).enumerate() {
            let bytes = batch(BatchOptions::default(), chunk, round * 10);
            let (error, _) = send(&mut spu.client().await, bytes).await;
            assert_eq!(error, 0);
            match round % 7 {
                2 => spu = again(spu).await,
                5 => elect(&spu, "d").await,
                _ => {}
            }
        }
        let found = values(&*leader(&spu.spu, "d", 0).await);
        assert_eq!(found, kept(&records, last, age_ms), "{bounds}");
        spu.spu.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_goes_on_behind_duplicates() {
    let spu = spu_with_dedup("last=100").await;
    let mut client = spu.client().await;
    let options = |first: i32| BatchOptions {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence: first,
        ..BatchOptions::default()
    };
    let first = batch(options(0), &[(1, "a"), (1, "b")], 0);
    assert_eq!(send(&mut client, first.clone()).await, (0, 0));
    let all_known = batch(options(2), &[(1, "b"), (1, "a")], 2);
    assert_eq!(send(&mut client, all_known.clone()).await.0, 0);
    let some_known = batch(options(4), &[(1, "a"), (1, "c"), (1, "b")], 4);
    assert_eq!(send(&mut client, some_known.clone()).await.0, 0);
    for again in [first, all_known, some_known] {
        assert_eq!(send(&mut client, again).await.0, 0, "sent twice");
    }
    assert_eq!(values(&*leader(&spu.spu, "d", 0).await), ["0", "1", "5"]);
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_refused_does_not_count() {
    let spu = spu_with_dedup("last=100").await;
    let mut client = spu.client().await;
    let replica = leader(&spu.spu, "d", 0).await;
    // A batch whose records are new, and which comes too early.
    let early = BatchOptions {
        producer_id: ProducerId(9),
        producer_epoch: ProducerEpoch(0),
        base_sequence: 50,
        ..BatchOptions::default()
    };
    let known = BatchOptions {
        base_sequence: 0,
        ..early
    };
    assert_eq!(send(&mut client, batch(known, &[(1, "a")], 0)).await.0, 0);
    assert_ne!(send(&mut client, batch(early, &[(1, "b")], 1)).await.0, 0);

    let retried = batch(BatchOptions::default(), &[(1, "b")], 2);
    assert_eq!(send(&mut client, retried).await.0, 0);

    assert_eq!(values(&replica), ["0", "2"]);
    assert_eq!(replica.high_watermark(), Offset(2));
    spu.spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_of_which_nothing_is_wanted_keep_all() {
    let spu = TestSpu::start_with(&[]).await;
    spu.create_topic("d", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    let bytes = batch(BatchOptions::default(), &[(1, "a"), (1, "a")], 0);
    assert_eq!(send(&mut client, bytes).await, (0, 0));
    let counts: BTreeMap<String, usize> = values(&*leader(&spu.spu, "d", 0).await)
        .into_iter()
        .map(|value| (value, 1))
        .collect();
    assert_eq!(counts.len(), 2);
    spu.spu.stop().await;
}
