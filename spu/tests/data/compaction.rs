//! What a consumer is given of a compacted partition: records, or where it ends.

use std::time::Duration;

use thalweg_record::{BatchBuilder, BatchHeader, BatchOptions, batches};
use thalweg_wire::Bytes;
use thalweg_wire::messages::FetchRequest;
use thalweg_wire::messages::fetch_response::PartitionData;

use crate::client::RawClient;
use crate::harness::{leader, until};
use crate::setup::{TestSpu, fetch_request_of, produce_request, produce_to, values_of};

fn record(key: &str, value: Option<&str>) -> Bytes {
    let now_ms = thalweg_runtime::Clock::now_ms(&thalweg_runtime::SystemClock::new());
    let mut builder = BatchBuilder::new(BatchOptions::default());
    builder
        .push(now_ms, Some(key.as_bytes()), value.map(str::as_bytes), &[])
        .unwrap();
    Bytes::from(builder.build().unwrap())
}

async fn put(client: &mut RawClient, key: &str, value: Option<&str>) {
    let answer = produce_to(client, produce_request("c", 0, record(key, value))).await;
    assert_eq!(answer.error_code, 0);
}

async fn fetch_some(client: &mut RawClient, from: i64, max_bytes: i32) -> PartitionData {
    let mut request: FetchRequest = fetch_request_of("c", &[(0, from)]);
    request.topics[0].partitions[0].partition_max_bytes = max_bytes;
    let response = client.call(&request, 12).await;
    response.responses[0].partitions[0].clone()
}

fn headers(data: &PartitionData) -> Vec<BatchHeader> {
    let records = data.records.clone().unwrap_or_default();
    let found = batches(&records).map(|batch| *batch.unwrap().header());
    found.collect()
}

async fn compacting(config: &[(&str, &str)]) -> TestSpu {
    let flags = ["--compaction-interval=20ms", "--retention-interval=20ms"];
    let spu = TestSpu::start_with(&flags).await;
    let always = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "4096"),
        ("min.cleanable.dirty.ratio", "0"),
    ];
    spu.create_topic("c", 1, &[always.as_slice(), config].concat())
        .await;
    spu
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_a_record_however_little_it_may_hold() {
    let spu = compacting(&[]).await;
    let mut client = spu.client().await;
    let text = "x".repeat(1000);
    for _ in 0..30 {
        put(&mut client, "a", Some(&text)).await;
    }
    put(&mut client, "b", Some("last")).await;
    let replica = leader(&spu.spu, "c", 0).await;
    until("it is compacted", || {
        (replica.log().size_bytes() < 8_000).then_some(())
    })
    .await;

    for from in 0..31 {
        let data = fetch_some(&mut client, from, 1).await;
        assert_eq!(values_of(&data).len(), 1, "from {from}");
        let last = headers(&data).pop().unwrap().last_offset().0;
        assert!(last >= from, "{last} from {from}");
    }
    assert_eq!(values_of(&fetch_some(&mut client, 30, 1).await), ["last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_left_an_answer_says_where_it_ends() {
    let config = [("delete.retention.ms", "0"), ("segment.ms", "1")];
    let spu = compacting(&config).await;
    let mut client = spu.client().await;
    for _ in 0..10 {
        put(&mut client, "a", Some("1")).await;
    }
    put(&mut client, "a", None).await;
    let replica = leader(&spu.spu, "c", 0).await;
    until("all is gone", || {
        (replica.log().size_bytes() == 61).then_some(())
    })
    .await;

    let data = tokio::time::timeout(Duration::from_secs(5), fetch_some(&mut client, 0, 1000));
    let data = data.await.expect("it does not wait for records");

    assert_eq!((data.high_watermark, data.log_start_offset), (11, 0));
    let found = headers(&data);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].record_count, found[0].next_offset().0), (0, 11));
}
