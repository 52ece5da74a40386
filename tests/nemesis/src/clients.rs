//! Clients that work while harm is done, and write down what they do and are told.
//!
//! Every producer, every consumer and whoever asks for the logs' ends is a client of its own, with
//! its own connections and its own idea of who leads.

mod member;

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thalweg_client::{
    Acks, Client, ConsumerOptions, DeliveryFuture, EndOffset, ErrorCode, PartitionSelection,
    ProduceError, Producer, ProducerOptions, ProducerRecord, StartOffset,
};
use thalweg_runtime::{CancellationToken, Clock, SystemClock, TaskGroup};
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};

pub use member::Membership;

use crate::history::{Answer, History, Mark, Read, Send, Session};

/// How many records of one producer may be unanswered.
const UNANSWERED_MAX: usize = 500;
/// How often a client that failed begins anew.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);
/// How long a producer tries: longer than a round harms, so that most outcomes are known.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(45);

/// How much clients do.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Records that a producer sends at a time, and how often.
    pub burst: usize,
    pub burst_interval: Duration,
    /// How often a partition is asked for its end.
    pub ends_interval: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            burst: 4,
            burst_interval: Duration::from_millis(4),
            ends_interval: Duration::from_millis(50),
        }
    }
}

/// What all clients of a round write into.
#[derive(Debug, Clone)]
pub struct Recorder {
    history: Arc<Mutex<History>>,
    clock: Arc<dyn Clock>,
    producers: Arc<Mutex<u32>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self {
            history: Arc::default(),
            clock: SystemClock::shared(),
            producers: Arc::default(),
        }
    }
}

impl Recorder {
    /// What was written down.
    ///
    /// # Panics
    /// When a client panicked while it wrote.
    pub fn history(&self) -> MutexGuard<'_, History> {
        self.history
            .lock()
            .expect("no client panics while it writes")
    }

    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn next_producer(&self) -> u32 {
        let mut producers = self.producers.lock().expect("nobody panics while counting");
        *producers += 1;
        *producers
    }

    fn answered(&self, mark: Mark, answer: Answer) {
        let now = self.now();
        if let Some(send) = self.history().sends.get_mut(&mark) {
            send.answer = Some((now, answer));
        }
    }
}

/// The clients at work. They go on until told to stop.
#[derive(Debug)]
pub struct Clients {
    acks: Acks,
    pace: Pace,
    producers: TaskGroup,
    readers: TaskGroup,
}

impl Clients {
    /// Nobody yet. Producers are to wait for `acks`.
    #[must_use]
    pub fn new(acks: Acks, pace: Pace) -> Self {
        Self {
            acks,
            pace,
            producers: TaskGroup::new(),
            readers: TaskGroup::new(),
        }
    }

    /// One more producer, which goes on as another when it fails for good.
    pub fn produce(&self, client: Client, topic: TopicName, recorder: Recorder) {
        let options = ProducerOptions {
            acks: self.acks,
            delivery_timeout: DELIVERY_TIMEOUT,
            ..ProducerOptions::default()
        };
        let pace = self.pace;
        self.producers.spawn("producer", move |stop| async move {
            let mut ticks = tokio::time::interval(RETRY_INTERVAL);
            while !stop.is_cancelled() {
                ticks.tick().await;
                let opened = client.producer(&topic, options.clone());
                if let Some(Ok(producer)) = stop.run_until_cancelled(opened).await {
                    produce(&producer, &topic, pace, &recorder, &stop).await;
                }
            }
            Ok::<_, Infallible>(())
        });
    }

    /// One more consumer of the whole topic; it begins anew when it fails, and after `turn`.
    pub fn consume(
        &self,
        name: String,
        client: Client,
        topic: TopicName,
        turn: Duration,
        recorder: Recorder,
    ) {
        self.readers.spawn("consumer", move |stop| async move {
            let mut session_count = 0;
            let mut ticks = tokio::time::interval(RETRY_INTERVAL);
            while !stop.is_cancelled() {
                ticks.tick().await;
                session_count += 1;
                let reader = format!("{name}, session {session_count}");
                let session = consume(&client, &topic, &reader, &recorder, &stop);
                // A session that ends in between loses nothing: each batch is written down at once.
                let _ = tokio::time::timeout(turn, session).await;
            }
            Ok::<_, Infallible>(())
        });
    }

    /// One more member of a group.
    pub fn join_group(&self, membership: Membership, client: Client, recorder: Recorder) {
        self.readers.spawn("member", move |stop| async move {
            membership.read(&client, &recorder, &stop).await;
            Ok::<_, Infallible>(())
        });
    }

    /// One that asks where a partition's log ends, again and again.
    pub fn watch_end(&self, client: Client, partition: TopicPartition, recorder: Recorder) {
        let pause = self.pace.ends_interval;
        self.readers.spawn("end-watcher", move |stop| async move {
            let admin = client.admin();
            let mut ticks = tokio::time::interval(pause);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            while !stop.is_cancelled() {
                ticks.tick().await;
                let asked = stop
                    .run_until_cancelled(admin.partition_offsets(&partition))
                    .await;
                if let Some(Ok(range)) = asked {
                    let told = (recorder.now(), range.end);
                    recorder
                        .history()
                        .ends
                        .entry(partition.clone())
                        .or_default()
                        .push(told);
                }
            }
            Ok::<_, Infallible>(())
        });
    }

    /// Has the producers stop sending, and waits until all of their records are answered.
    pub async fn finish_producing(&self) {
        self.producers.stop().await;
    }

    /// Has everybody else stop.
    pub async fn finish(self) {
        self.readers.stop().await;
    }
}

/// Produces as one producer until told to stop, or until it fails.
async fn produce(
    producer: &Producer,
    topic: &TopicName,
    pace: Pace,
    recorder: &Recorder,
    stop: &CancellationToken,
) {
    let mut unanswered = VecDeque::new();
    let mut mark = Mark {
        producer: recorder.next_producer(),
        number: 0,
    };
    let mut ticks = tokio::time::interval(pace.burst_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed = false;
    while !failed && !stop.is_cancelled() {
        ticks.tick().await;
        for _ in 0..pace.burst {
            match send(producer, mark, recorder).await {
                Ok(delivery) => unanswered.push_back((mark, delivery)),
                Err(_) => failed = true,
            }
            mark.number += 1;
        }
        while unanswered.len() > UNANSWERED_MAX
            && let Some((mark, delivery)) = unanswered.pop_front()
        {
            failed |= settle(topic, mark, delivery, recorder).await;
        }
    }
    for (mark, delivery) in unanswered {
        settle(topic, mark, delivery, recorder).await;
    }
}

async fn send(
    producer: &Producer,
    mark: Mark,
    recorder: &Recorder,
) -> Result<DeliveryFuture, ProduceError> {
    let sent = Send {
        sent_at: recorder.now(),
        answer: None,
    };
    recorder.history().sends.insert(mark, sent);
    let (key, text) = (mark.key(), mark.to_string());
    let record = ProducerRecord::new(text.as_bytes()).key(key.as_bytes());
    let accepted = producer.send(record).await;
    if let Err(error) = &accepted {
        recorder.answered(
            mark,
            Answer::Refused {
                reason: error.to_string(),
            },
        );
    }
    accepted
}

/// Writes down what became of a record; says whether it failed.
async fn settle(
    topic: &TopicName,
    mark: Mark,
    delivery: DeliveryFuture,
    recorder: &Recorder,
) -> bool {
    let (answer, failed) = match delivery.await {
        Ok(delivery) => {
            let partition = TopicPartition {
                topic: topic.clone(),
                partition: delivery.partition,
            };
            (
                Answer::Stored {
                    partition,
                    offset: delivery.offset,
                },
                false,
            )
        }
        Err(error) => {
            let reason = error.to_string();
            let is_known = matches!(
                error.code(),
                ErrorCode::InvalidRequest | ErrorCode::Unavailable
            );
            let answer = if is_known {
                Answer::Refused { reason }
            } else {
                Answer::Unknown { reason }
            };
            (answer, true)
        }
    };
    recorder.answered(mark, answer);
    failed
}

/// Reads a topic from its beginning, until told to stop or until that fails.
async fn consume(
    client: &Client,
    topic: &TopicName,
    reader: &str,
    recorder: &Recorder,
    stop: &CancellationToken,
) {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        ..ConsumerOptions::default()
    };
    let opened = stop
        .run_until_cancelled(client.consumer(topic, options))
        .await;
    let Some(Ok(mut consumer)) = opened else {
        return;
    };
    let mut places: BTreeMap<PartitionIndex, usize> = BTreeMap::new();
    while let Some(Ok(Some(batch))) = stop.run_until_cancelled(consumer.next_batch()).await {
        let partition = TopicPartition {
            topic: topic.clone(),
            partition: batch.partition(),
        };
        let mut history = recorder.history();
        let sessions = history.sessions.entry(partition).or_default();
        let place = *places.entry(batch.partition()).or_insert_with(|| {
            sessions.push(Session {
                reader: reader.to_owned(),
                reads: Vec::new(),
            });
            sessions.len() - 1
        });
        let records = batch
            .records()
            .map(|record| read(record.offset, record.value));
        sessions[place].reads.extend(records);
    }
}

/// Reads a whole partition, once.
///
/// # Errors
/// When it can't be read to its end.
pub async fn read_log(client: &Client, partition: &TopicPartition) -> anyhow::Result<Vec<Read>> {
    read_all(client, partition, read).await
}

/// The whole log of a partition as numbers.
///
/// # Errors
/// When it can't be read to its end.
pub async fn read_numbers(
    client: &Client,
    partition: &TopicPartition,
) -> anyhow::Result<Vec<Option<u64>>> {
    read_all(client, partition, |_, value| parsed(value)).await
}

async fn read_all<T>(
    client: &Client,
    partition: &TopicPartition,
    read: impl Fn(Offset, Option<&[u8]>) -> T,
) -> anyhow::Result<Vec<T>> {
    let options = ConsumerOptions {
        partitions: PartitionSelection::Only(vec![partition.partition]),
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(&partition.topic, options).await?;
    let mut log = Vec::new();
    while let Some(batch) = consumer.next_batch().await? {
        log.extend(
            batch
                .records()
                .map(|record| read(record.offset, record.value)),
        );
    }
    Ok(log)
}

fn read(offset: Offset, value: Option<&[u8]>) -> Read {
    (offset, parsed(value))
}

fn parsed<T: std::str::FromStr>(value: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(value?).ok()?.parse().ok()
}
