//! What a producer does when things go wrong.

use std::time::Duration;

use futures::FutureExt;
use thalweg_client::{
    Acks, Client, ClientOptions, ProduceError, Producer, ProducerOptions, ProducerRecord,
};
use thalweg_types::{ClusterId, Offset, PartitionIndex};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::client;
use crate::fake_spu::{FakeSpu, Fate, topic};

async fn producer(spu: &FakeSpu, options: ProducerOptions) -> Producer {
    client(spu).await.producer(&topic(), options).await.unwrap()
}

/// How long somebody waits who does not wait for a time-out (30 s by default).
const SOON: Duration = Duration::from_secs(10);

/// Batches of some ten records each.
fn small_batches() -> ProducerOptions {
    ProducerOptions {
        batch_bytes: 300,
        ..ProducerOptions::default()
    }
}

/// Sends the values `0..count` and answers what became of each.
async fn send_all(producer: &Producer, count: usize) -> Vec<Result<Option<Offset>, ProduceError>> {
    let mut deliveries = Vec::new();
    for index in 0..count {
        let value = index.to_string();
        let record = ProducerRecord::new(value.as_bytes());
        deliveries.push(producer.send(record).await.unwrap());
    }
    let mut outcomes = Vec::new();
    for delivery in deliveries {
        outcomes.push(delivery.await.map(|delivery| delivery.offset));
    }
    outcomes
}

fn values(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| index.to_string()).collect()
}

#[tokio::test]
async fn every_record_learns_its_offset() {
    let spu = FakeSpu::start().await;
    let producer = producer(&spu, small_batches()).await;

    let outcomes = send_all(&producer, 500).await;

    for (index, outcome) in outcomes.into_iter().enumerate() {
        assert_eq!(
            outcome.unwrap(),
            Some(Offset(i64::try_from(index).unwrap()))
        );
    }
    assert_eq!(spu.values(), values(0..500));
}

#[tokio::test]
async fn whatever_fails_on_the_way_each_record_is_stored_once_and_in_order() {
    let spu = FakeSpu::start().await;
    spu.state().produce_fates = [
        Fate::Served,
        Fate::LostAfter,
        Fate::Served,
        Fate::LostBefore,
        Fate::LostBefore,
        Fate::Refused(6),
        Fate::Served,
        Fate::Refused(19),
        Fate::Refused(7),
        Fate::Served,
        Fate::Served,
        Fate::LostAfter,
        Fate::LostAfter,
    ]
    .into();
    let producer = producer(&spu, small_batches()).await;

    let outcomes = send_all(&producer, 500).await;

    assert_eq!(spu.values(), values(0..500));
    for (index, outcome) in outcomes.into_iter().enumerate() {
        let offset = outcome.unwrap().map(|offset| offset.0);
        assert_eq!(offset, Some(i64::try_from(index).unwrap()));
    }
}

#[tokio::test]
async fn a_batch_that_is_refused_fails_alone_and_those_behind_it_are_stored_in_order() {
    let spu = FakeSpu::start().await;
    spu.state().produce_fates = [Fate::Served, Fate::Refused(10)].into();
    let producer = producer(&spu, small_batches()).await;

    let outcomes = send_all(&producer, 300).await;

    let failed: Vec<_> = (0..300).filter(|index| outcomes[*index].is_err()).collect();
    let stored: Vec<_> = (0..300).filter(|index| outcomes[*index].is_ok()).collect();
    assert!(!failed.is_empty() && failed.len() < 50, "{failed:?}");
    assert!(matches!(
        outcomes[failed[0]],
        Err(ProduceError::Refused { kafka_code: 10, .. })
    ));
    let stored: Vec<_> = stored.into_iter().map(|index| index.to_string()).collect();
    assert_eq!(spu.values(), stored);
    assert!(
        producer.flush().await.is_err(),
        "flush tells the first failure"
    );
    assert!(producer.flush().await.is_ok(), "once");
}

#[tokio::test]
async fn a_record_that_can_not_be_delivered_in_time_fails_and_says_why() {
    let spu = FakeSpu::start().await;
    spu.state().produce_fates = vec![Fate::Refused(6); 10_000].into();
    let options = ProducerOptions {
        delivery_timeout: Duration::from_millis(200),
        ..ProducerOptions::default()
    };
    let producer = producer(&spu, options).await;

    let error = send_all(&producer, 1).await.remove(0).unwrap_err();

    assert!(
        matches!(
            &error,
            ProduceError::DeliveryTimeout {
                outcome_unknown: false,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("flights-0"), "{error}");
}

#[tokio::test]
async fn a_full_producer_makes_senders_wait() {
    let spu = FakeSpu::start().await;
    let options = ProducerOptions {
        memory_bytes: 1000,
        ..ProducerOptions::default()
    };
    let producer = producer(&spu, options).await;
    spu.hold().await;
    let value = [b'x'; 400];
    let record = ProducerRecord::new(&value);

    let first = producer.try_send(record).unwrap();
    let _second = producer.try_send(record).unwrap();
    let error = producer.try_send(record).unwrap_err();
    assert!(matches!(
        error,
        ProduceError::QueueFull { memory_bytes: 1000 }
    ));
    let mut third = Box::pin(producer.send(record));
    assert!((&mut third).now_or_never().is_none());

    spu.release();
    first.await.unwrap();
    third.await.unwrap().await.unwrap();
}

#[tokio::test]
async fn records_sent_while_one_is_under_way_share_a_batch() {
    let spu = FakeSpu::start().await;
    let options = ProducerOptions {
        linger: Duration::from_secs(60),
        ..ProducerOptions::default()
    };
    let producer = producer(&spu, options).await;

    for _ in 0..100 {
        producer.enqueue(ProducerRecord::new(b"v")).await.unwrap();
    }
    producer.flush().await.unwrap();

    assert_eq!(spu.state().produce_request_count, 1);
    assert_eq!(spu.values().len(), 100);
}

#[tokio::test]
async fn without_acks_records_arrive_and_nobody_waits() {
    let spu = FakeSpu::start().await;
    let options = ProducerOptions {
        acks: Acks::None,
        ..ProducerOptions::default()
    };
    let producer = producer(&spu, options).await;

    let delivery = producer.send(ProducerRecord::new(b"v")).await.unwrap();

    assert_eq!(delivery.await.unwrap().offset, None);
}

#[tokio::test]
async fn what_can_not_be_accepted_is_refused_at_once() {
    let spu = FakeSpu::start().await;
    let client = client(&spu).await;
    let nowhere = client
        .producer(&"nowhere".parse().unwrap(), ProducerOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(nowhere, ProduceError::UnknownTopic { .. }),
        "{nowhere}"
    );

    let producer = producer(&spu, ProducerOptions::default()).await;
    let record = ProducerRecord::new(b"v").partition(PartitionIndex(9));
    let error = producer.send(record).await.unwrap_err();
    assert!(matches!(
        error,
        ProduceError::UnknownPartition {
            partition_count: 1,
            ..
        }
    ));

    let large = vec![0; 2 << 20];
    let error = producer
        .send(ProducerRecord::new(&large))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("max.message.bytes"), "{error}");

    producer.close().await.unwrap();
    let error = producer.send(ProducerRecord::new(b"v")).await.unwrap_err();
    assert!(matches!(error, ProduceError::Closed));
}

#[tokio::test]
async fn a_producer_that_is_dropped_still_sends_what_it_accepted() {
    let spu = FakeSpu::start().await;
    let producer = producer(&spu, small_batches()).await;
    let mut last = None;
    for _ in 0..100 {
        last = Some(producer.send(ProducerRecord::new(b"v")).await.unwrap());
    }

    drop(producer);

    last.unwrap().await.unwrap();
    assert_eq!(spu.values().len(), 100);
}

#[tokio::test]
async fn nothing_is_sent_to_another_cluster_that_has_come_to_the_same_address() {
    let spu = FakeSpu::start().await;
    let cluster = |number| Some(ClusterId(Uuid::from_u128(number)));
    spu.state().cluster = cluster(1);
    let options = ProducerOptions {
        delivery_timeout: Duration::from_secs(1),
        ..small_batches()
    };
    let producer = producer(&spu, options).await;
    assert!(send_all(&producer, 1).await[0].is_ok());

    spu.state().cluster = cluster(2);
    spu.state().produce_fates = [Fate::LostBefore].into();
    let error = send_all(&producer, 1).await.remove(0).unwrap_err();

    let told = error.to_string();
    assert!(
        told.contains("is of cluster 00000000-0000-0000-0000-000000000002 now"),
        "{told}"
    );
    assert_eq!(spu.values(), values(0..1));
}

#[tokio::test]
async fn an_spu_that_is_silent_holds_nobody_up_who_can_ask_another() {
    let spu = FakeSpu::start().await;
    // Connections to it are made, and nobody answers on them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ClientOptions {
        bootstrap: vec![
            silent.local_addr().unwrap().to_string(),
            spu.address.clone(),
        ],
        ..ClientOptions::default()
    };
    let client = Client::connect(options).await.unwrap();

    let producing = async {
        let producer = client.producer(&topic(), small_batches()).await.unwrap();
        send_all(&producer, 1).await
    };
    let outcomes = tokio::time::timeout(SOON, producing).await.unwrap();

    assert_eq!(outcomes[0].as_ref().unwrap(), &Some(Offset(0)));
}
