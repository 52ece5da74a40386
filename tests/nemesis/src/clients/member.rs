//! A member of a group, which commits each batch before it asks for the next.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_client::{
    Client, CommitMode, Consumer, ConsumerBatch, ConsumerEvent, ConsumerOptions, GroupOptions,
    StartOffset,
};
use thalweg_runtime::CancellationToken;
use thalweg_types::{PartitionIndex, TopicName, TopicPartition};
use tokio::time::{Instant, timeout_at};

use super::{RETRY_INTERVAL, Recorder, read};
use crate::history::Session;

/// How long a member may be silent: as short as SPUs allow by default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// Who is a member of what.
#[derive(Debug, Clone)]
pub struct Membership {
    pub name: String,
    pub group: String,
    pub topic: TopicName,
    /// How long it reads before it leaves and joins again, from when it was given something.
    pub turn: Duration,
}

impl Membership {
    /// Reads as a member, as another when that fails and after each turn, until told to stop.
    pub(super) async fn read(
        &self,
        client: &Client,
        recorder: &Recorder,
        stop: &CancellationToken,
    ) {
        let mut group = GroupOptions::new(&self.group);
        group.commit = CommitMode::Manual;
        group.session_timeout = SESSION_TIMEOUT;
        let options = ConsumerOptions {
            group: Some(group),
            start: StartOffset::Beginning,
            ..ConsumerOptions::default()
        };
        let mut ticks = tokio::time::interval(RETRY_INTERVAL);
        let mut turn_count = 0;
        while !stop.is_cancelled() {
            ticks.tick().await;
            turn_count += 1;
            let opened = client.consumer(&self.topic, options.clone());
            let Some(Ok(mut consumer)) = stop.run_until_cancelled(opened).await else {
                continue;
            };
            let reader = format!("{}, turn {turn_count}", self.name);
            // A turn that ends in between loses nothing: each batch is written down at once.
            stop.run_until_cancelled(self.take_turn(&mut consumer, &reader, recorder))
                .await;
            // Every other time it goes without a word of its own, as a program that crashes.
            if turn_count % 2 == 0 {
                consumer.close().await;
            }
        }
    }

    async fn take_turn(&self, consumer: &mut Consumer, reader: &str, recorder: &Recorder) {
        let mut sessions = BTreeMap::new();
        // It begins when the group has given it something: a member that only comes and goes keeps a
        // new group from beginning.
        let mut ends_at = None;
        loop {
            let next = timeout_at(ends_at.unwrap_or_else(far_future), consumer.next_event());
            let Ok(Ok(Some(event))) = next.await else {
                return;
            };
            match event {
                ConsumerEvent::Assigned(partitions) => {
                    ends_at = ends_at.or(Some(Instant::now() + self.turn));
                    for partition in partitions {
                        sessions.insert(partition, self.begin(partition, reader, recorder));
                    }
                }
                ConsumerEvent::Batch(batch) => {
                    let Some(session) = sessions.get(&batch.partition()) else {
                        continue;
                    };
                    self.note(&batch, *session, recorder);
                    let next = batch.records().last().map(|record| record.offset.next());
                    let next = next.map(|next| (batch.partition(), next));
                    let committed = consumer.commit_offsets(&next.into_iter().collect()).await;
                    if let Some((partition, offset)) = next.filter(|_| committed.is_ok()) {
                        let acknowledged = (recorder.now(), offset);
                        let name = self.name_of(partition);
                        let mut history = recorder.history();
                        history
                            .groups
                            .entry(name)
                            .or_default()
                            .commits
                            .push(acknowledged);
                    }
                }
                ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions) => {
                    sessions.retain(|partition, _| !partitions.contains(partition));
                }
                _ => {}
            }
        }
    }

    /// Notes that it has got a partition; which of the partition's sessions that is.
    fn begin(&self, partition: PartitionIndex, reader: &str, recorder: &Recorder) -> usize {
        let assigned_at = recorder.now();
        let name = self.name_of(partition);
        let mut history = recorder.history();
        let sessions = history.sessions.entry(name.clone()).or_default();
        sessions.push(Session {
            reader: reader.to_owned(),
            reads: Vec::new(),
        });
        let session = sessions.len() - 1;
        let reading = history.groups.entry(name).or_default();
        reading.turns.push((assigned_at, session));
        session
    }

    fn note(&self, batch: &ConsumerBatch, session: usize, recorder: &Recorder) {
        let records = batch.records();
        let reads = records.map(|record| read(record.offset, record.value));
        let name = self.name_of(batch.partition());
        if let Some(sessions) = recorder.history().sessions.get_mut(&name) {
            sessions[session].reads.extend(reads);
        }
    }

    fn name_of(&self, partition: PartitionIndex) -> TopicPartition {
        TopicPartition {
            topic: self.topic.clone(),
            partition,
        }
    }
}

fn far_future() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}
