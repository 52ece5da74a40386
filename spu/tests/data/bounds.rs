//! However clients behave, memory stays bounded and others are served.

use std::time::Duration;

use thalweg_wire::encode_request;
use thalweg_wire::messages::produce_request::{PartitionProduceData, TopicProduceData};
use thalweg_wire::messages::{MetadataRequest, ProduceRequest};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::setup::{TestSpu, batch, fetch, fetch_request, produce, produce_request, values_of};

/// This process's resident memory, in bytes. The SPU runs in it.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

/// Writes `bytes` again and again until the SPU takes no more.
async fn write_until_stuck(socket: &mut TcpStream, bytes: &[u8]) {
    let stuck = Duration::from_millis(300);
    while let Ok(Ok(())) = tokio::time::timeout(stuck, socket.write_all(bytes)).await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_that_never_read_leave_memory_bounded_and_others_served() {
    const BUDGET_BYTES: u64 = 16 << 20;
    let budget = format!("--request-memory-bytes={BUDGET_BYTES}");
    let spu = TestSpu::start_with(&[&budget]).await;
    spu.create_topic("t", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    let large = "x".repeat(200_000);
    for _ in 0..20 {
        produce(&mut client, batch(&[&large])).await;
    }
    let fetch_all = encode_request(&fetch_request(0).with_max_bytes(4 << 20), 12, 1, "").unwrap();
    let metadata = encode_request(&MetadataRequest::default(), 12, 1, "").unwrap();
    let before = resident_bytes();

    // Every one of them asks for 4 MiB at a time, as often as the SPU takes the question.
    let mut greedy = Vec::new();
    for index in 0..1000 {
        let mut socket = TcpStream::connect(spu.address()).await.unwrap();
        let request = if index % 2 == 0 {
            &fetch_all
        } else {
            &metadata
        };
        for _ in 0..100 {
            socket.write_all(request).await.unwrap();
        }
        greedy.push(socket);
    }
    write_until_stuck(&mut greedy[0], &fetch_all.repeat(1000)).await;

    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "memory grew by {} MiB", grown >> 20);
    assert_eq!(produce(&mut client, batch(&["served"])).await.error_code, 0);
    assert_eq!(
        values_of(&fetch(&mut client, &fetch_request(20)).await),
        ["served"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn producers_that_never_read_give_their_memory_back() {
    let spu = TestSpu::start_with(&["--request-memory-bytes=4MiB"]).await;
    spu.create_topic("t", 1, &[("durability", "memory")]).await;
    let large = "x".repeat(500_000);
    let request = encode_request(&produce_request("t", 0, batch(&[&large])), 9, 1, "").unwrap();
    let mut greedy = Vec::new();
    for _ in 0..20 {
        let mut socket = TcpStream::connect(spu.address()).await.unwrap();
        for _ in 0..4 {
            socket.write_all(&request).await.unwrap();
        }
        greedy.push(socket);
    }

    let mut client = spu.client().await;

    assert_eq!(produce(&mut client, batch(&["served"])).await.error_code, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn produces_to_very_many_partitions_leave_memory_bounded() {
    let spu = TestSpu::start_with(&["--request-memory-bytes=16MiB"]).await;
    let partitions = (0..50_000).map(|index| PartitionProduceData::default().with_index(index));
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_topic_data(vec![
            TopicProduceData::default()
                .with_name(crate::setup::topic("t"))
                .with_partition_data(partitions.collect()),
        ]);
    let request = encode_request(&request, 9, 1, "").unwrap();
    // The first of a connection waits to be written, and those after it for their turn.
    let before = resident_bytes();

    let mut greedy = TcpStream::connect(spu.address()).await.unwrap();
    write_until_stuck(&mut greedy, &request).await;

    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < 150 << 20, "memory grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn connections_beyond_the_limit_are_refused() {
    let spu = TestSpu::start_with(&["--connections-max=2"]).await;
    let mut first = spu.client().await;
    let mut second = spu.client().await;
    first.call(&MetadataRequest::default(), 12).await;
    second.call(&MetadataRequest::default(), 12).await;

    let mut third = spu.client().await;
    third.assert_hung_up().await;

    drop(first);
    crate::harness::until("a place is free", || {
        let socket = std::net::TcpStream::connect(spu.address()).ok()?;
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        // A refused connection ends at once; one that was taken stays silent.
        let mut byte = [0];
        let read = std::io::Read::read(&mut &socket, &mut byte);
        read.is_err().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silent_connection_is_closed_and_a_waiting_one_is_not() {
    let spu = TestSpu::start_with(&["--idle-timeout=200ms"]).await;
    spu.create_topic("t", 1, &[("durability", "memory")]).await;
    let mut silent = spu.client().await;
    let mut waiting = spu.client().await;

    let id = waiting
        .send(&fetch_request(0).with_max_wait_ms(1000), 12)
        .await;
    silent.assert_hung_up().await;

    waiting
        .receive::<thalweg_wire::messages::FetchRequest>(id, 12)
        .await;
}

#[tokio::test]
async fn a_request_over_the_limit_ends_the_connection() {
    let spu = TestSpu::start_with(&["--request-bytes-max=64KiB"]).await;
    spu.create_topic("t", 1, &[("durability", "memory")]).await;
    let mut client = spu.client().await;
    let large = "x".repeat(100 << 10);
    let request: ProduceRequest = produce_request("t", 0, batch(&[&large]));
    let frame = encode_request(&request, 9, 1, "").unwrap();

    client.send_bytes(&frame[..4]).await;

    client.assert_hung_up().await;
}
