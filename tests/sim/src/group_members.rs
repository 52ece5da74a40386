//! Members of a consumer group, which commit what they have read, and write down what came of it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thalweg_client::{
    Client, CommitMode, Consumer, ConsumerEvent, ConsumerOptions, GroupOptions, StartOffset,
};
use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_types::{Offset, PartitionIndex, TopicName};

/// The name of the group of a run.
const GROUP: &str = "readers";
/// How often a member that failed begins anew.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// What members did and were told, one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GroupEvent {
    /// A member was given a partition.
    Assigned {
        member: String,
        partition: PartitionIndex,
    },
    /// A member was given records, from an offset on and up to another.
    Read {
        member: String,
        partition: PartitionIndex,
        from: Offset,
        to: Offset,
    },
    /// A member asks for a commit. Calls are told apart by their numbers.
    Commits {
        call: usize,
        member: String,
        partition: PartitionIndex,
        offset: Offset,
    },
    /// A commit was acknowledged.
    Committed { call: usize },
}

/// The events of a run's group. All clones are one log.
#[derive(Debug, Clone, Default)]
pub(crate) struct GroupLog {
    events: Arc<Mutex<Vec<GroupEvent>>>,
}

impl GroupLog {
    /// What happened.
    pub(crate) fn events(&self) -> MutexGuard<'_, Vec<GroupEvent>> {
        self.events.lock().expect("nobody panics while it writes")
    }

    fn push(&self, event: GroupEvent) {
        self.events().push(event);
    }

    /// Gives the call's number.
    fn commits(&self, member: &str, partition: PartitionIndex, offset: Offset) -> usize {
        let mut events = self.events();
        let call = events.len();
        events.push(GroupEvent::Commits {
            call,
            member: member.to_owned(),
            partition,
            offset,
        });
        call
    }
}

/// How many records members were given.
pub(crate) fn read_count(events: &[GroupEvent]) -> i64 {
    let counts = events.iter().map(|event| match event {
        GroupEvent::Read { from, to, .. } => to.0 - from.0,
        _ => 0,
    });
    counts.sum()
}

/// Starts a member in `tasks`, which joins anew when it fails, and leaves when the tasks are to end.
pub(crate) fn start_member(
    name: String,
    client: Client,
    topic: TopicName,
    log: GroupLog,
    tasks: &TaskGroup,
) {
    tasks.spawn("member", |stop| async move {
        let mut joins = 0;
        while !stop.is_cancelled() {
            joins += 1;
            let opened = client.consumer(&topic, options());
            if let Some(Ok(consumer)) = stop.run_until_cancelled(opened).await {
                let member = format!("{name}, {joins}");
                work(consumer, &member, &log, &stop).await;
            }
            let pause = tokio::time::sleep(RETRY_INTERVAL);
            stop.run_until_cancelled(pause).await;
        }
        Ok::<_, Infallible>(())
    });
}

fn options() -> ConsumerOptions {
    let mut group = GroupOptions::new(GROUP);
    group.commit = CommitMode::Manual;
    group.session_timeout = Duration::from_secs(6);
    group.heartbeat_interval = Duration::from_millis(500);
    ConsumerOptions {
        group: Some(group),
        start: StartOffset::Beginning,
        ..ConsumerOptions::default()
    }
}

/// Reads and commits until told to stop, or until that fails.
async fn work(mut consumer: Consumer, member: &str, log: &GroupLog, stop: &CancellationToken) {
    while let Some(event) = stop.run_until_cancelled(consumer.next_event()).await {
        match event {
            Ok(Some(ConsumerEvent::Batch(batch))) => {
                let partition = batch.partition();
                let offsets: Vec<_> = batch.records().map(|record| record.offset).collect();
                let (Some(from), Some(last)) = (offsets.first(), offsets.last()) else {
                    continue;
                };
                let (from, to) = (*from, last.next());
                log.push(GroupEvent::Read {
                    member: member.to_owned(),
                    partition,
                    from,
                    to,
                });
                let call = log.commits(member, partition, to);
                let offsets = BTreeMap::from([(partition, to)]);
                if consumer.commit_offsets(&offsets).await.is_ok() {
                    log.push(GroupEvent::Committed { call });
                }
            }
            Ok(Some(ConsumerEvent::Assigned(partitions))) => {
                for partition in partitions {
                    log.push(GroupEvent::Assigned {
                        member: member.to_owned(),
                        partition,
                    });
                }
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => return,
        }
    }
    consumer.close().await;
}
