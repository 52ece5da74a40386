//! A steady load, and the longest that a partition of it went without an acknowledgement.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use thalweg_client::{Admin, Client, ProducerOptions, ProducerRecord};
use thalweg_nemesis::topics::{TopicOptions, create_topic};
use thalweg_runtime::{SystemClock, TaskGroup};
use thalweg_types::{PartitionIndex, TopicName};

const PARTITIONS: i32 = 3;
const RECORD_BYTES: usize = 1024;
/// With [`INTERVAL`], 5 MB/s.
const BURST: usize = 100;
const INTERVAL: Duration = Duration::from_millis(20);

/// A producer of 5 MB/s.
pub(super) struct Load {
    tasks: TaskGroup,
    seen: Arc<Mutex<Seen>>,
}

/// What became of its records.
#[derive(Debug, Default)]
pub(super) struct Seen {
    acknowledged: usize,
    failed: usize,
    last: BTreeMap<PartitionIndex, Duration>,
    longest_silence: Duration,
}

impl Seen {
    fn acknowledge(&mut self, partition: PartitionIndex, now: Duration) {
        self.acknowledged += 1;
        if let Some(last) = self.last.insert(partition, now) {
            self.longest_silence = self.longest_silence.max(now.saturating_sub(last));
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a load of 5 MB/s: {} records of {RECORD_BYTES} bytes acknowledged, {} failed, the longest silence of a partition {} ms",
            self.acknowledged,
            self.failed,
            self.longest_silence.as_millis()
        )
    }
}

impl Load {
    pub(super) async fn start(client: Client, admin: &Admin) -> Self {
        let topic: TopicName = "load".parse().unwrap();
        let options = TopicOptions {
            partitions: PARTITIONS,
            durability: "memory",
            segment_bytes: "10000000",
        };
        create_topic(admin, &topic, options).await.unwrap();
        let producer = client
            .producer(&topic, ProducerOptions::default())
            .await
            .unwrap();
        let tasks = TaskGroup::new();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sees = seen.clone();
        tasks.spawn("load", |stop| async move {
            let clock = SystemClock::shared();
            let value = vec![b'x'; RECORD_BYTES];
            let mut ticks = tokio::time::interval(INTERVAL);
            let mut deliveries = FuturesUnordered::new();
            let mut number: u64 = 0;
            while !stop.is_cancelled() || !deliveries.is_empty() {
                tokio::select! {
                    _ = ticks.tick(), if !stop.is_cancelled() => {
                        for _ in 0..BURST {
                            // In turns over the partitions.
                            let key = (number / 8).to_string();
                            number += 1;
                            let record = ProducerRecord::new(&value).key(key.as_bytes());
                            match producer.send(record).await {
                                Ok(delivery) => deliveries.push(delivery),
                                Err(_) => sees.lock().unwrap().failed += 1,
                            }
                        }
                    }
                    Some(delivery) = deliveries.next() => {
                        let mut seen = sees.lock().unwrap();
                        match delivery {
                            Ok(delivery) => seen.acknowledge(delivery.partition, clock.monotonic()),
                            Err(_) => seen.failed += 1,
                        }
                    }
                }
            }
            Ok::<_, Infallible>(())
        });
        Self { tasks, seen }
    }

    /// Stops it, waits for all answers, and says what it saw.
    pub(super) async fn finish(self) -> Seen {
        self.tasks.stop().await;
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}
