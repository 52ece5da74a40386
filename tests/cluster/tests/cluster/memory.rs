//! Memory that stays bounded whatever clients do.

use std::io::Write;
use std::net::TcpStream;

use thalweg_client::{ProducerOptions, ProducerRecord};
use thalweg_tests_cluster::LocalCluster;

/// The SPU's bound under full load.
const RESIDENT_BYTES_MAX: u64 = 250 << 20;

/// A Fetch (version 4) of everything in partition 0 of topic `big`.
fn fetch_frame() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(1_i16.to_be_bytes()); // Fetch
    body.extend(4_i16.to_be_bytes());
    body.extend(7_i32.to_be_bytes()); // correlation id
    body.extend((-1_i16).to_be_bytes()); // no client id
    body.extend((-1_i32).to_be_bytes()); // no replica
    body.extend(0_i32.to_be_bytes()); // wait
    body.extend(1_i32.to_be_bytes()); // at least
    body.extend(i32::MAX.to_be_bytes()); // at most
    body.push(0); // isolation
    body.extend(1_i32.to_be_bytes()); // topics
    body.extend(3_i16.to_be_bytes());
    body.extend(b"big");
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(0_i32.to_be_bytes());
    body.extend(0_i64.to_be_bytes()); // from the beginning
    body.extend(i32::MAX.to_be_bytes());
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(body);
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connections_that_never_read_leave_memory_bounded() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster
        .create_topic("big", 1, &[("durability", "memory")])
        .await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    let value = vec![7; 500_000];
    for _ in 0..100 {
        producer.enqueue(ProducerRecord::new(&value)).await.unwrap();
    }
    producer.flush().await.unwrap();

    let frame = fetch_frame();
    let mut connections = Vec::new();
    for _ in 0..1_000 {
        let mut connection = TcpStream::connect(cluster.spu_address(0)).unwrap();
        connection.set_nonblocking(true).unwrap();
        for _ in 0..20 {
            // It refuses to take more once the SPU has stopped reading: that is the point.
            let _ = connection.write(&frame);
        }
        connections.push(connection);
    }
    // Another client is served meanwhile, after all of the above has been accepted.
    producer
        .send(ProducerRecord::new(b"7"))
        .await
        .unwrap()
        .await
        .unwrap();

    let resident_bytes = cluster.spu(0).resident_bytes().unwrap();
    assert!(
        resident_bytes < RESIDENT_BYTES_MAX,
        "{} MiB resident",
        resident_bytes >> 20
    );
}
