//! One reign as the coordinator of the groups of one partition: a task that owns their state.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use thalweg_record::{BatchBuilder, BatchOptions, BuildError};
use thalweg_runtime::{CancellationToken, Clock, TaskGroup};
use thalweg_storage::{AppendError, Appended};
use thalweg_types::LeaderEpoch;
use thalweg_wire::KafkaError;
use tokio::sync::{mpsc, watch};
use tracing::{debug, info, warn};

use super::loading::{self, LoadError};
use super::options::GroupOptions;
use super::state::{Moment, ShardState, Write};
use crate::cluster_view::ClusterView;
use crate::control::WithCauses;
use crate::replica::{Acks, ProduceError, Replica};

/// How many requests may wait for their turn; more wait before the queue.
const JOBS_QUEUED: usize = 256;
/// How long a write may take before all is read again: whether it will be kept is not known.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a partition that can't be read is left alone.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

/// Something to do with the state. What it returns is written.
pub(super) type Job = Box<dyn FnOnce(&mut ShardState, Moment) -> Vec<Write> + Send>;

/// A shard as others hold it.
#[derive(Debug, Clone)]
pub(super) struct ShardHandle {
    pub(super) leader_epoch: LeaderEpoch,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) is_loaded: watch::Receiver<bool>,
}

impl ShardHandle {
    /// Whether it is gone, with the reign or because it failed.
    pub(super) fn has_ended(&self) -> bool {
        self.jobs.is_closed()
    }
}

/// The task.
pub(super) struct Shard {
    replica: Arc<Replica>,
    view: Arc<ClusterView>,
    clock: Arc<dyn Clock>,
    state: ShardState,
    jobs: mpsc::Receiver<Job>,
    is_loaded: watch::Sender<bool>,
    /// In the order of the log.
    writes: FuturesOrdered<BoxFuture<'static, (Write, Result<Appended, WriteError>)>>,
}

/// Why records are not written.
#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Produce(#[from] ProduceError),
}

impl Shard {
    /// Begins a reign with that of `replica`.
    pub(super) fn spawn(
        replica: Arc<Replica>,
        view: Arc<ClusterView>,
        clock: Arc<dyn Clock>,
        options: GroupOptions,
        tasks: &TaskGroup,
    ) -> ShardHandle {
        let (sender, jobs) = mpsc::channel(JOBS_QUEUED);
        let is_loaded = watch::Sender::new(false);
        let handle = ShardHandle {
            leader_epoch: replica.leader_epoch(),
            jobs: sender,
            is_loaded: is_loaded.subscribe(),
        };
        let shard = Self {
            state: ShardState::new(options, view.current()),
            replica,
            view,
            clock,
            jobs,
            is_loaded,
            writes: FuturesOrdered::new(),
        };
        tasks.spawn("group-coordinator-shard", |shutdown| shard.run(shutdown));
        handle
    }

    async fn run(mut self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let replica = Arc::clone(&self.replica);
        let partition = replica.topic_partition();
        // Nothing is lost where this is dropped half-way: whoever leads next reads it all again.
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = replica.wait_for_end() => debug!(%partition, "no longer coordinates its groups"),
            served = self.serve() => match served {
                Ok(never) => match never {},
                Err(LoadError::Ended) => {}
                Err(error) => {
                    let error = WithCauses(&error).to_string();
                    warn!(%partition, error, "can't coordinate the groups of this partition");
                    // Before another attempt: by itself it gets no better.
                    tokio::time::sleep(FAILED_PAUSE).await;
                }
            },
        }
        Ok(())
    }

    async fn serve(&mut self) -> Result<Infallible, LoadError> {
        self.load().await?;
        loop {
            let due = self.state.next_due();
            let pause = due.saturating_sub(self.clock.monotonic());
            // All of these are cancel-safe: a queue keeps what it has not handed out, and writes
            // stay in the order.
            tokio::select! {
                Some((write, outcome)) = self.writes.next(), if !self.writes.is_empty() => {
                    self.finish(write, outcome)?;
                }
                job = self.jobs.recv() => {
                    // The sender lives as long as the coordinator.
                    let Some(job) = job else { return Err(LoadError::Ended) };
                    let now = self.now();
                    self.state.see(self.view.current());
                    let writes = job(&mut self.state, now);
                    self.submit(writes, now);
                }
                () = tokio::time::sleep(pause) => {
                    let now = self.now();
                    self.state.see(self.view.current());
                    let writes = self.state.tick(now);
                    self.submit(writes, now);
                }
            }
        }
    }

    async fn load(&mut self) -> Result<(), LoadError> {
        let began = self.clock.monotonic();
        let end = loading::committed_end(&self.replica).await?;
        let mut from = self.replica.log().log_start();
        let mut records_read = 0_usize;
        while from < end {
            let (records, next) = loading::read(&self.replica, from, end).await?;
            let now = self.now();
            records_read += records.len();
            for record in records {
                self.state.read(record, now);
            }
            if next <= from {
                break;
            }
            from = next;
        }
        let now = self.now();
        self.state.finish_reading(now);
        let view = self.view.current();
        if view.is_an_scs_word() {
            let gone = self
                .state
                .forget_topics(&|topic, id| view.has_topic(topic, id));
            self.submit(gone, now);
        }
        let took = self.clock.monotonic().saturating_sub(began);
        let partition = self.replica.topic_partition();
        info!(%partition, records_read, ?took, "coordinates its groups");
        self.is_loaded.send_replace(true);
        Ok(())
    }

    /// Appends in the order of the calls.
    fn submit(&mut self, writes: Vec<Write>, now: Moment) {
        for write in writes {
            self.state.writing();
            let batch = batch_of(&write, now);
            let appending = batch.map(|batch| {
                self.replica
                    .append(Bytes::from(batch), None, Acks::All, WRITE_TIMEOUT)
            });
            self.writes.push_back(Box::pin(async move {
                let outcome = match appending {
                    Ok(appending) => appending.await.map_err(WriteError::from),
                    Err(error) => Err(error.into()),
                };
                (write, outcome)
            }));
        }
    }

    fn finish(
        &mut self,
        write: Write,
        outcome: Result<Appended, WriteError>,
    ) -> Result<(), LoadError> {
        let now = self.now();
        let (is_in_log, told) = match outcome {
            Ok(_) => (true, Ok(())),
            Err(error) => {
                debug!(partition = %self.replica.topic_partition(), %error, "failed to keep what groups did");
                if let WriteError::Produce(ProduceError::TimedOut { .. }) = error {
                    // Whoever waits looks for the coordinator again.
                    return Err(LoadError::Ended);
                }
                let after_append = ProduceError::is_after_append;
                let is_in_log = matches!(&error, WriteError::Produce(error) if after_append(error));
                (is_in_log, Err(error_told(&error)))
            }
        };
        let writes = self.state.written(write, is_in_log, told, now);
        self.submit(writes, now);
        Ok(())
    }

    fn now(&self) -> Moment {
        Moment {
            monotonic: self.clock.monotonic(),
            ms: self.clock.now_ms(),
        }
    }
}

fn batch_of(write: &Write, now: Moment) -> Result<Vec<u8>, BuildError> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for record in &write.records {
        let value = record.value();
        batch.push(now.ms, Some(&record.key()), value.as_deref(), &[])?;
    }
    batch.build()
}

/// What a client is told of a write that failed, so that it does what is right.
fn error_told(error: &WriteError) -> KafkaError {
    match error {
        WriteError::Build(_)
        | WriteError::Produce(ProduceError::Append {
            source: AppendError::BatchTooLarge { .. },
            ..
        }) => KafkaError::InvalidCommitOffsetSize,
        WriteError::Produce(ProduceError::LeadershipEnded { .. }) => KafkaError::NotCoordinator,
        WriteError::Produce(_) => KafkaError::CoordinatorNotAvailable,
    }
}
