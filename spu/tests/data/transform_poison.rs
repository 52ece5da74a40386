//! A poison record in the middle of a million.

use thalweg_proto::v1;
use thalweg_types::{Offset, OnError};

use crate::harness::{append, leader, values};
use crate::setup::TestSpu;
use crate::topic_chains::register;
use crate::transforms::{on_error, spu_with_flags, transform, written};

const COUNT: usize = 1_000_000;
/// Where the module answers with an error, and where it crashes.
const POISON: [(usize, &str); 2] = [(500_000, "fail"), (700_000, "panic")];

fn value_at(number: usize) -> String {
    let mut poison = POISON.iter();
    let poison = poison.find(|(at, _)| *at == number);
    poison.map_or_else(|| number.to_string(), |(_, value)| (*value).to_owned())
}

async fn produce_all(spu: &TestSpu) {
    let replica = leader(&spu.spu, "t", 0).await;
    for start in (0..COUNT).step_by(10_000) {
        let chunk: Vec<_> = (start..start + 10_000).map(value_at).collect();
        let chunk: Vec<_> = chunk.iter().map(String::as_str).collect();
        append(&replica, &chunk).await.unwrap();
    }
}

fn position(number: usize) -> i64 {
    i64::try_from(number).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_record_in_a_million_stops_at_it_or_goes_to_the_dead_letters() {
    let spu = spu_with_flags(&[], 1, &[("out", 1), ("failed", 1)]).await;
    register(&spu, "moody");
    produce_all(&spu).await;
    spu.script.set_transform(transform("moody", &["out"]));

    let failed = |told: &v1::TransformReport| told.state() == v1::TransformRunState::Failed;
    let told = spu.script.wait_for_runner(0, failed).await;
    let (at, _) = POISON[0];
    assert!(
        told.reason.contains(&format!("offset {at}")),
        "{}",
        told.reason
    );
    assert_eq!((told.position, told.restarts), (position(at), 0));
    let out = leader(&spu.spu, "out", 0).await;
    assert_eq!(values(&out).len(), at, "all before it, and nothing behind");

    let letters = OnError::DeadLetter("failed".parse().unwrap());
    spu.script
        .set_transform(on_error(transform("moody", &["out"]), &letters));
    let through = |told: &v1::TransformReport| told.position == position(COUNT);
    let told = spu.script.wait_for_runner(0, through).await;

    assert_eq!((told.failed, told.restarts), (POISON.len() as u64, 0));
    let found = values(&out);
    let mut expected = (0..COUNT).filter(|number| POISON.iter().all(|(at, _)| at != number));
    assert_eq!(found.len(), COUNT - POISON.len());
    assert!(
        found
            .iter()
            .all(|value| expected.next().map(value_at).as_ref() == Some(value))
    );
    assert_eq!(written(&spu, "failed", 0, 2).await, ["fail", "panic"]);
    assert_eq!(
        leader(&spu.spu, "t", 0).await.high_watermark(),
        Offset(position(COUNT))
    );
    spu.spu.stop().await;
}
