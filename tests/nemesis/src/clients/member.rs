//! A member of a group, which commits each batch before it asks for the next.

use std::collections::BTreeMap;
use std::time::Duration;

use thalweg_client::{
    Client, CommitMode, Consumer, ConsumerBatch, ConsumerEvent, ConsumerOptions, GroupOptions,
    StartOffset,
};
use thalweg_runtime::CancellationToken;
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};
use tokio::time::{Instant, timeout_at};

use super::{RETRY_INTERVAL, Recorder, read};
use crate::history::{GroupEvent, Session};

/// How long a member may be silent: as short as SPUs allow by default.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

/// How long it may be busy with a batch; also how long a member may wait to be let in.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(10);

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
        group.poll_interval_max = POLL_INTERVAL_MAX;
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
                        let member = reader.to_owned();
                        self.push(partition, GroupEvent::Assigned { member }, recorder);
                        sessions.remove(&partition);
                    }
                }
                ConsumerEvent::Batch(batch) => {
                    let partition = batch.partition();
                    let session = sessions
                        .entry(partition)
                        .or_insert_with(|| self.begin_session(partition, reader, recorder));
                    let Some(offset) = self.note(&batch, *session, reader, recorder) else {
                        continue;
                    };
                    let call = self.push_commits(partition, offset, reader, recorder);
                    let offsets = BTreeMap::from([(partition, offset)]);
                    if consumer.commit_offsets(&offsets).await.is_ok() {
                        self.push(partition, GroupEvent::Committed { call }, recorder);
                    }
                }
                ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions) => {
                    sessions.retain(|partition, _| !partitions.contains(partition));
                }
                _ => {}
            }
        }
    }

    /// Which of the partition's sessions what it reads from now on is.
    fn begin_session(&self, partition: PartitionIndex, reader: &str, recorder: &Recorder) -> usize {
        let mut history = recorder.history();
        let sessions = history.sessions.entry(self.name_of(partition));
        let sessions = sessions.or_default();
        sessions.push(Session {
            reader: reader.to_owned(),
            reads: Vec::new(),
        });
        sessions.len() - 1
    }

    /// Notes what it was given; the offset behind it.
    fn note(
        &self,
        batch: &ConsumerBatch,
        session: usize,
        reader: &str,
        recorder: &Recorder,
    ) -> Option<Offset> {
        let records = batch.records();
        let reads: Vec<_> = records
            .map(|record| read(record.offset, record.value))
            .collect();
        let (from, to) = (reads.first()?.0, reads.last()?.0.next());
        let member = reader.to_owned();
        let event = GroupEvent::Read { member, from, to };
        self.push(batch.partition(), event, recorder);
        let name = self.name_of(batch.partition());
        if let Some(sessions) = recorder.history().sessions.get_mut(&name) {
            sessions[session].reads.extend(reads);
        }
        Some(to)
    }

    fn push(&self, partition: PartitionIndex, event: GroupEvent, recorder: &Recorder) {
        let mut history = recorder.history();
        let reading = history.groups.entry(self.name_of(partition));
        reading.or_default().events.push(event);
    }

    /// Notes that it asks for a commit; the call's number.
    fn push_commits(
        &self,
        partition: PartitionIndex,
        offset: Offset,
        reader: &str,
        recorder: &Recorder,
    ) -> usize {
        let mut history = recorder.history();
        let reading = history.groups.entry(self.name_of(partition));
        let events = &mut reading.or_default().events;
        let (call, member) = (events.len(), reader.to_owned());
        events.push(GroupEvent::Commits {
            call,
            member,
            offset,
        });
        call
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
