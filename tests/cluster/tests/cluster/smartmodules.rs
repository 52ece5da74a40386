//! SmartModules on real streams.

use thalweg_client::{
    ConsumerOptions, EndOffset, ProducerOptions, ProducerRecord, SmartModuleInvocation, StartOffset,
};
use thalweg_tests_cluster::LocalCluster;

use thalweg_tests_cluster::examples::example;

/// A flight that left `minutes` late, as a line of flights.csv.
fn flight(minutes: u32) -> String {
    format!(
        "2013,1,1,517,515,{minutes},830,819,11,UA,1545,N14228,EWR,IAH,227,1400,5,15,2013-01-01 05:00:00"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_skips_and_repeats_nothing_over_segments_and_reconnects() {
    let mut cluster = LocalCluster::start(1).await;
    let topic = cluster
        .create_topic("flights", 1, &[("segment.bytes", "100000")])
        .await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    // Every hundredth is late, and long stretches pass nothing.
    let count = 20_000_u32;
    for number in 0..count {
        let minutes = if number % 100 == 0 { 90 } else { 5 };
        producer
            .enqueue(ProducerRecord::new(flight(minutes).as_bytes()))
            .await
            .unwrap();
    }
    producer.flush().await.unwrap();

    let mut consumer = client
        .consumer(
            &topic,
            ConsumerOptions {
                start: StartOffset::Beginning,
                end: EndOffset::LogEnd,
                partition_bytes_max: 50_000,
                prefetch_bytes: 50_000,
                smartmodules: vec![SmartModuleInvocation::wasm(
                    "late",
                    example("thalweg-example-flights", "late"),
                )],
                ..ConsumerOptions::default()
            },
        )
        .await
        .unwrap();
    let mut seen = Vec::new();
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        seen.extend(batch.records().map(|record| record.offset.0));
        if seen.len() == 50 {
            cluster.take_spu(0).kill();
            cluster.start_spu(0);
        }
    }

    let expected: Vec<_> = (0..i64::from(count)).step_by(100).collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_is_no_wasm_is_refused_and_the_spu_goes_on() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("flights", 1, &[]).await;
    let client = cluster.client().await;
    let producer = client
        .producer(&topic, ProducerOptions::default())
        .await
        .unwrap();
    producer
        .send(ProducerRecord::new(flight(5).as_bytes()))
        .await
        .unwrap()
        .await
        .unwrap();
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules: vec![SmartModuleInvocation::wasm("broken", b"no wasm".to_vec())],
        ..ConsumerOptions::default()
    };

    let error = match client.consumer(&topic, options).await {
        Err(error) => error,
        Ok(mut consumer) => consumer.next_batch().await.unwrap_err(),
    };

    assert!(error.to_string().contains("broken"), "{error}");
    let plain = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(&topic, plain).await.unwrap();
    assert!(consumer.next_batch().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_is_refused_also_where_there_is_nothing_to_read() {
    let cluster = LocalCluster::start(1).await;
    let topic = cluster.create_topic("empty", 1, &[]).await;
    let client = cluster.client().await;
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules: vec![SmartModuleInvocation::wasm("broken", b"no wasm".to_vec())],
        ..ConsumerOptions::default()
    };

    let error = client.consumer(&topic, options).await.unwrap_err();

    assert!(error.to_string().contains("broken"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_file_that_is_not_there_is_named() {
    let cluster = LocalCluster::start(1).await;
    cluster.create_topic("t", 1, &[]).await;

    let output = cluster.thalweg(&["consume", "t", "--smartmodule-path", "/no/such.wasm"]);

    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("/no/such.wasm"), "{errors}");
}
