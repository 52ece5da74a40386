//! How long a group takes to share partitions anew when a member comes or goes, and whether those who
//! keep their partitions go on reading meanwhile.
//!
//! All members run in this process with our client, each on connections of its own. A producer sends a
//! record to every partition in turn all the time. What is measured is the time from when the member
//! is opened, or is told to close, until each partition has one reader and no member has two more than
//! another; and the longest time that a partition which did not change hands then went without a
//! record, beside the longest in as much time before.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{
    Client, ClientOptions, Consumer, ConsumerEvent, ConsumerOptions, GroupOptions, NewTopic,
    ProduceError, ProducerOptions, ProducerRecord,
};
use thalweg_runtime::TaskGroup;
use thalweg_types::{PartitionIndex, TopicName};
use tokio::sync::{Notify, oneshot};

use crate::peers::Thalweg;
use crate::stopwatch::Stopwatch;
use crate::table::median;

/// How long sharing anew may take.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long the group is left alone before a member comes or goes.
const QUIET: Duration = Duration::from_secs(5);
/// How often each partition gets a record.
const PACE: Duration = Duration::from_millis(50);

/// How much to measure.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Plan {
    /// Where data is written.
    #[arg(long, default_value = "target")]
    dir: PathBuf,
    /// How many members there are with the one that comes and goes.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(2..))]
    members: u16,
    /// How many partitions they share.
    #[arg(long, default_value_t = 500)]
    partitions: i32,
    /// How often it comes and goes.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Groups {
    plan: Plan,
    /// All members but one at once, from nothing.
    first: Duration,
    joins: Vec<Round>,
    leaves: Vec<Round>,
}

#[derive(Debug, Clone, Copy)]
struct Round {
    took: Duration,
    gap_before: Duration,
    gap: Duration,
}

/// Measures a group on a cluster of its own.
pub(crate) fn groups(plan: &Plan) -> anyhow::Result<Groups> {
    let (members, partitions) = (usize::from(plan.members), plan.partitions);
    let scratch = tempfile::tempdir_in(&plan.dir)?;
    let thalweg = Thalweg::start(&scratch.path().join("thalweg"))?;
    tokio::runtime::Runtime::new()?.block_on(async {
        let client = Client::connect(ClientOptions::new(thalweg.cluster())).await?;
        let topic: TopicName = "shared".parse()?;
        let mut new = NewTopic::new(topic.clone(), partitions);
        new.config.set("durability", "memory")?;
        client.admin().create_topic(new).await?;
        let tasks = TaskGroup::new();
        send_to_all(&client, &topic, partitions, &tasks).await?;

        let group = Group {
            topic,
            cluster: thalweg.cluster().to_owned(),
            readers: Arc::new(Readers::new(partitions)),
            tasks,
        };
        let stopwatch = Stopwatch::start();
        let mut all = Vec::new();
        for _ in 1..members {
            all.push(group.open_member().await?);
        }
        group.shared_by(members - 1).await?;
        let first = stopwatch.elapsed();
        let (mut joins, mut leaves) = (Vec::new(), Vec::new());
        for _ in 0..plan.rounds {
            let newcomer = group.open_member();
            let (round, newcomer) = group.round(members, newcomer).await?;
            joins.push(round);
            let leaving = async {
                let left = newcomer.close.send(());
                left.map_err(|()| anyhow::anyhow!("the member had ended before"))
            };
            leaves.push(group.round(members - 1, leaving).await?.0);
        }
        group.tasks.stop().await;
        Ok(Groups {
            plan: plan.clone(),
            first,
            joins,
            leaves,
        })
    })
}

/// Sends to every partition, until the tasks are stopped.
async fn send_to_all(
    client: &Client,
    topic: &TopicName,
    partitions: i32,
    tasks: &TaskGroup,
) -> anyhow::Result<()> {
    let producer = client.producer(topic, ProducerOptions::default()).await?;
    tasks.spawn("producer", move |stop| async move {
        let mut pace = tokio::time::interval(PACE);
        loop {
            tokio::select! {
                _ = pace.tick() => {}
                () = stop.cancelled() => return Ok::<_, ProduceError>(()),
            }
            for partition in 0..partitions {
                let record = ProducerRecord::new(b"x").partition(PartitionIndex(partition));
                producer.enqueue(record).await?;
            }
        }
    });
    Ok(())
}

struct Group {
    topic: TopicName,
    cluster: String,
    readers: Arc<Readers>,
    tasks: TaskGroup,
}

/// A member that runs.
struct Member {
    close: oneshot::Sender<()>,
}

impl Group {
    async fn open_member(&self) -> anyhow::Result<Member> {
        let client = Client::connect(ClientOptions::new(&self.cluster)).await?;
        let options = ConsumerOptions {
            group: Some(GroupOptions::new("members")),
            ..ConsumerOptions::default()
        };
        let consumer = client.consumer(&self.topic, options).await?;
        let (close, closed) = oneshot::channel();
        let reader = self.readers.newcomer();
        let readers = Arc::clone(&self.readers);
        self.tasks.spawn("member", move |stop| async move {
            tokio::select! {
                read = readers.read_as(reader, consumer, closed) => read,
                () = stop.cancelled() => Ok(()),
            }
        });
        Ok(Member { close })
    }

    /// What a change does to a group that has been left alone for a while.
    async fn round<T>(
        &self,
        members: usize,
        change: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<(Round, T)> {
        self.readers.begin();
        tokio::time::sleep(QUIET).await;
        let gap_before = self.readers.longest_gap();
        self.readers.begin();
        let stopwatch = Stopwatch::start();
        let changed = change.await?;
        self.shared_by(members).await?;
        let round = Round {
            took: stopwatch.elapsed(),
            gap_before,
            gap: self.readers.longest_gap(),
        };
        Ok((round, changed))
    }

    async fn shared_by(&self, members: usize) -> anyhow::Result<()> {
        let shared = async {
            loop {
                let changed = self.readers.changed.notified();
                if self.readers.are_even(members) {
                    return;
                }
                changed.await;
            }
        };
        let shared = tokio::time::timeout(TIMEOUT, shared).await;
        shared.with_context(|| format!("{members} members did not share all partitions evenly"))
    }
}

/// Who reads what.
struct Readers {
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    members: usize,
    partitions: Vec<Reading>,
}

/// One partition.
struct Reading {
    reader: Option<usize>,
    /// Since the last record.
    since: Stopwatch,
    longest_gap: Duration,
    has_moved: bool,
}

impl Readers {
    fn new(partitions: i32) -> Self {
        let reading = |_| Reading {
            reader: None,
            since: Stopwatch::start(),
            longest_gap: Duration::ZERO,
            has_moved: false,
        };
        Self {
            state: Mutex::new(State {
                members: 0,
                partitions: (0..partitions).map(reading).collect(),
            }),
            changed: Notify::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn newcomer(&self) -> usize {
        let mut state = self.state();
        state.members += 1;
        state.members
    }

    /// Reads until the group is to be left.
    async fn read_as(
        &self,
        reader: usize,
        mut consumer: Consumer,
        mut closed: oneshot::Receiver<()>,
    ) -> Result<(), thalweg_client::ConsumeError> {
        loop {
            let event = tokio::select! {
                event = consumer.next_event() => event?,
                _ = &mut closed => {
                    consumer.close().await;
                    self.let_go(reader);
                    return Ok(());
                }
            };
            match event {
                Some(ConsumerEvent::Batch(batch)) => self.read(batch.partition()),
                Some(ConsumerEvent::Assigned(partitions)) => self.hand(&partitions, Some(reader)),
                Some(ConsumerEvent::Revoked(partitions) | ConsumerEvent::Lost(partitions)) => {
                    self.hand(&partitions, None);
                }
                _ => return Ok(()),
            }
        }
    }

    fn read(&self, partition: PartitionIndex) {
        let mut state = self.state();
        let reading = &mut state.partitions[index(partition)];
        reading.longest_gap = reading.longest_gap.max(reading.since.elapsed());
        reading.since = Stopwatch::start();
    }

    fn hand(&self, partitions: &[PartitionIndex], reader: Option<usize>) {
        let mut state = self.state();
        for partition in partitions {
            let reading = &mut state.partitions[index(*partition)];
            reading.reader = reader;
            reading.has_moved = true;
        }
        self.changed.notify_waiters();
    }

    fn let_go(&self, reader: usize) {
        let mut state = self.state();
        for reading in &mut state.partitions {
            if reading.reader == Some(reader) {
                reading.reader = None;
                reading.has_moved = true;
            }
        }
    }

    fn are_even(&self, members: usize) -> bool {
        let state = self.state();
        let mut counts = BTreeMap::<usize, usize>::new();
        for reading in &state.partitions {
            let Some(reader) = reading.reader else {
                return false;
            };
            *counts.entry(reader).or_default() += 1;
        }
        let least = counts.values().min().unwrap_or(&0);
        let most = counts.values().max().unwrap_or(&0);
        counts.len() == members && most - least <= 1
    }

    /// Forgets the gaps.
    fn begin(&self) {
        for reading in &mut self.state().partitions {
            reading.since = Stopwatch::start();
            reading.longest_gap = Duration::ZERO;
            reading.has_moved = false;
        }
    }

    /// The longest gap of the partitions that have stayed where they were.
    fn longest_gap(&self) -> Duration {
        let state = self.state();
        let stayed = state.partitions.iter().filter(|reading| !reading.has_moved);
        let gaps = stayed.map(|reading| reading.longest_gap.max(reading.since.elapsed()));
        gaps.max().unwrap_or_default()
    }
}

fn index(partition: PartitionIndex) -> usize {
    usize::try_from(partition.0).expect("partitions are counted from 0")
}

impl fmt::Display for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan {
            members,
            partitions,
            ..
        } = &self.plan;
        let first = self.first.as_millis();
        writeln!(
            f,
            "{} members open and share {partitions} partitions: {first} ms",
            members - 1
        )?;
        for (what, rounds) in [("comes", &self.joins), ("goes", &self.leaves)] {
            let of = |figure: fn(&Round) -> Duration| {
                let figures: Vec<_> = rounds.iter().map(|it| figure(it).as_secs_f64()).collect();
                let most = figures.iter().copied().fold(0.0, f64::max);
                let median = median(&figures).unwrap_or(f64::NAN);
                format!("{:.0} ms ({:.0} at most)", median * 1e3, most * 1e3)
            };
            writeln!(
                f,
                "member {members} {what}, {} rounds: shared anew in {}; the longest wait for a record of a \
                 partition that stays {}, {} when nobody comes or goes",
                rounds.len(),
                of(|round| round.took),
                of(|round| round.gap),
                of(|round| round.gap_before)
            )?;
        }
        Ok(())
    }
}
