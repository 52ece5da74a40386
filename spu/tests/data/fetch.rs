//! Long polls, limits, epochs.

use std::time::{Duration, Instant};

use thalweg_wire::messages::FetchRequest;

use crate::setup::{
    TestSpu, batch, fetch, fetch_request, fetch_request_of, produce, records_of, values_of,
};

#[expect(
    clippy::disallowed_methods,
    reason = "the server's waiting is what is measured"
)]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
async fn a_fetch_from_within_a_batch_gives_the_whole_batch() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a", "b", "c"])).await;
    produce(&mut client, batch(&["d"])).await;

    let data = fetch(&mut client, &fetch_request(1)).await;

    assert_eq!(values_of(&data), ["a", "b", "c", "d"]);
    assert_eq!(
        (
            data.high_watermark,
            data.last_stable_offset,
            data.log_start_offset
        ),
        (4, 4, 0)
    );
}

#[tokio::test]
async fn every_version_reads_the_same_records() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a", "b"])).await;

    for version in 4..=12 {
        let response = client.call(&fetch_request(0), version).await;
        let partition = &response.responses[0].partitions[0];
        assert_eq!(values_of(partition), ["a", "b"], "version {version}");
    }
}

#[tokio::test]
async fn a_long_poll_ends_as_soon_as_there_is_something() {
    let spu = TestSpu::start().await;
    let (mut consumer, mut producer) = (spu.client().await, spu.client().await);
    let started = now();
    let request = fetch_request_of("t", &[(0, 0), (1, 0)]).with_max_wait_ms(15_000);
    let id = consumer.send(&request, 12).await;

    produce(&mut producer, batch(&["a"])).await;

    let response = consumer.receive::<FetchRequest>(id, 12).await;
    assert_eq!(values_of(&response.responses[0].partitions[0]), ["a"]);
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_long_poll_without_records_ends_when_its_time_is_up() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let started = now();

    let data = fetch(&mut client, &fetch_request(0).with_max_wait_ms(150)).await;

    assert!(records_of(&data).is_empty());
    assert!(started.elapsed() >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_long_poll_waits_for_as_much_as_it_asks_for() {
    let spu = TestSpu::start().await;
    let (mut consumer, mut producer) = (spu.client().await, spu.client().await);
    let one = batch(&["a"]);
    let wanted = i32::try_from(one.len() * 3).unwrap();
    let request = fetch_request(0)
        .with_min_bytes(wanted)
        .with_max_wait_ms(15_000);
    let id = consumer.send(&request, 12).await;

    for _ in 0..3 {
        produce(&mut producer, one.clone()).await;
    }

    let response = consumer.receive::<FetchRequest>(id, 12).await;
    assert_eq!(values_of(&response.responses[0].partitions[0]).len(), 3);
}

#[tokio::test]
async fn a_batch_larger_than_the_limits_still_comes_and_only_once() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let large = "x".repeat(100_000);
    for partition in 0..2 {
        let request = crate::setup::produce_request("t", partition, batch(&[&large]));
        assert_eq!(
            crate::setup::produce_to(&mut client, request)
                .await
                .error_code,
            0
        );
    }
    let request = fetch_request_of("t", &[(0, 0), (1, 0)]).with_max_bytes(1000);

    let response = client.call(&request, 12).await;

    let partitions = &response.responses[0].partitions;
    assert_eq!(values_of(&partitions[0]), [large]);
    assert!(records_of(&partitions[1]).is_empty());
    assert_eq!(partitions[1].high_watermark, 1);
}

#[tokio::test]
async fn an_offset_that_is_not_there_is_out_of_range() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    produce(&mut client, batch(&["a"])).await;

    for offset in [-5, 2, 100] {
        let request = fetch_request(offset).with_max_wait_ms(15_000);
        assert_eq!(fetch(&mut client, &request).await.error_code, 1, "{offset}");
    }
    assert_eq!(
        fetch(&mut client, &fetch_request(1)).await.error_code,
        0,
        "the log's end"
    );
}

#[tokio::test]
async fn epochs_fence() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let with_epoch = |epoch| {
        let mut request = fetch_request(0);
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        request
    };
    let known = crate::harness::leader(&spu.spu, "t", 0)
        .await
        .leader_epoch()
        .0;

    assert_eq!(fetch(&mut client, &with_epoch(known)).await.error_code, 0);
    assert_eq!(
        fetch(&mut client, &with_epoch(known - 1)).await.error_code,
        74,
        "FENCED"
    );
    assert_eq!(
        fetch(&mut client, &with_epoch(known + 1)).await.error_code,
        75,
        "UNKNOWN"
    );
    assert_eq!(
        client
            .call(&fetch_request_of("nowhere", &[(0, 0)]), 12)
            .await
            .responses[0]
            .partitions[0]
            .error_code,
        3
    );
}

#[tokio::test]
async fn a_waiting_fetch_hears_of_the_end_of_the_reign() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;
    let id = client
        .send(&fetch_request(0).with_max_wait_ms(15_000), 12)
        .await;

    spu.script.elect("t", 0, None);

    let response = client.receive::<FetchRequest>(id, 12).await;
    assert_eq!(
        response.responses[0].partitions[0].error_code, 6,
        "NOT_LEADER_OR_FOLLOWER"
    );
}

#[tokio::test]
async fn sessions_are_refused_without_an_error_to_who_asks_for_a_new_one() {
    let spu = TestSpu::start().await;
    let mut client = spu.client().await;

    let new = client
        .call(&fetch_request(0).with_session_epoch(0), 12)
        .await;
    let old = client
        .call(
            &fetch_request(0).with_session_id(7).with_session_epoch(3),
            12,
        )
        .await;

    assert_eq!((new.error_code, new.session_id), (0, 0));
    assert_eq!(old.error_code, 70, "FETCH_SESSION_ID_NOT_FOUND");
}
