//! What the modules of transforms log, on its way to the topic `__transform_logs`: `docs/formats/data-protocol.md`,
//! Transforms.
//!
//! Lines are gathered in memory and written a few times a second. What logs more than is written loses lines, and
//! how many is said: a guest that logs can't use up memory, nor hold up records.

use std::convert::Infallible;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use thalweg_client::partition_for_key;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_runtime::{CancellationToken, Clock, TaskGroup};
use thalweg_smartengine::{LogLevel, LogLines};
use thalweg_types::{
    Offset, PartitionIndex, ResourceName, SpuId, TRANSFORM_LOGS_TOPIC, TopicName, TopicPartition,
};
use tokio::sync::Notify;
use tracing::warn;

use super::leaders::Leaders;
use crate::context::SpuContext;
use crate::replica::Acks;

/// How long lines are gathered.
const GATHERING: Duration = Duration::from_millis(100);
/// How many lines wait at most.
const LINES_MAX: usize = 10_000;
/// How large a batch becomes, in bytes.
const BATCH_BYTES: usize = 256 << 10;
/// How long a batch is tried to be written before it is given up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the modules of this SPU's transforms log.
#[derive(Debug)]
pub(super) struct TransformLog {
    waiting: Mutex<Vec<Line>>,
    more: Notify,
    dropped: AtomicU64,
    clock: Arc<dyn Clock>,
    spu: SpuId,
}

/// A line of one transform.
#[derive(Debug)]
struct Line {
    transform: ResourceName,
    time_ms: i64,
    value: Vec<u8>,
}

/// The value of a record of the topic.
#[derive(Serialize)]
struct Shown<'a> {
    transform: &'a ResourceName,
    module: &'a str,
    level: &'a str,
    topic: &'a TopicName,
    partition: PartitionIndex,
    offset: Offset,
    spu: SpuId,
    text: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    dropped: u64,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde's attribute asks for"
)]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The log of one runner.
#[derive(Debug)]
pub(super) struct RunnerLog {
    log: Arc<TransformLog>,
    transform: ResourceName,
    input: TopicPartition,
    /// Where the records begin that the modules were given last.
    position: AtomicI64,
    /// Lines of records that may go through the chain again; absent where none do.
    held: Option<Mutex<Vec<HeldLine>>>,
}

/// A line that may be said again.
#[derive(Debug)]
struct HeldLine {
    step: String,
    level: LogLevel,
    text: String,
}

impl TransformLog {
    /// Starts what writes it.
    pub(super) fn spawn(
        context: &SpuContext,
        leaders: &Arc<Leaders>,
        tasks: &TaskGroup,
    ) -> Arc<Self> {
        let log = Arc::new(Self {
            waiting: Mutex::default(),
            more: Notify::new(),
            dropped: AtomicU64::new(0),
            clock: Arc::clone(&context.clock),
            spu: context.spu_id,
        });
        let writer = Writer {
            log: Arc::clone(&log),
            context: context.clone(),
            leaders: Arc::clone(leaders),
        };
        tasks.spawn("transform-logs", |shutdown| writer.run(shutdown));
        log
    }

    fn push(&self, line: Line) {
        let waiting = self.waiting.lock();
        let mut waiting = waiting.unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= LINES_MAX {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(line);
        self.more.notify_one();
    }
}

impl RunnerLog {
    pub(super) fn new(
        log: &Arc<TransformLog>,
        transform: ResourceName,
        input: TopicPartition,
        holds: bool,
    ) -> Self {
        Self {
            log: Arc::clone(log),
            transform,
            input,
            position: AtomicI64::new(0),
            held: holds.then(Mutex::default),
        }
    }

    /// The records are through whose lines are held.
    pub(super) fn release(&self) {
        for HeldLine { step, level, text } in self.take_held() {
            self.say(&step, level, &text);
        }
    }

    /// They go through again, and log again.
    pub(super) fn discard(&self) {
        self.take_held();
    }

    fn take_held(&self) -> Vec<HeldLine> {
        let held = self.held.as_ref();
        held.map_or_else(Vec::new, |held| {
            std::mem::take(&mut *held.lock().unwrap_or_else(PoisonError::into_inner))
        })
    }

    /// What is logged from now on is about records from this one on.
    pub(super) fn is_at(&self, position: Offset) {
        self.position.store(position.0, Ordering::Relaxed);
    }

    fn say(&self, step: &str, level: LogLevel, text: &str) {
        let before = self.log.dropped.swap(0, Ordering::Relaxed);
        self.push(step, level, text, before);
    }

    fn push(&self, step: &str, level: LogLevel, text: &str, dropped: u64) {
        let shown = Shown {
            transform: &self.transform,
            module: step,
            level: &level.to_string(),
            topic: &self.input.topic,
            partition: self.input.partition,
            offset: Offset(self.position.load(Ordering::Relaxed)),
            spu: self.log.spu,
            text,
            dropped,
        };
        self.log.push(Line {
            transform: self.transform.clone(),
            time_ms: self.log.clock.now_ms(),
            value: serde_json::to_vec(&shown).unwrap_or_default(),
        });
    }
}

impl LogLines for RunnerLog {
    fn line(&self, step: &str, level: LogLevel, text: &str) {
        let Some(held) = &self.held else {
            return self.say(step, level, text);
        };
        // A module logs a few lines a second, so that few are held.
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(HeldLine {
            step: step.to_owned(),
            level,
            text: text.to_owned(),
        });
    }

    fn dropped(&self, step: &str, count: u32) {
        let text = format!("{count} lines dropped");
        self.push(step, LogLevel::Warn, &text, count.into());
    }
}

/// Writes what is logged.
struct Writer {
    log: Arc<TransformLog>,
    context: SpuContext,
    leaders: Arc<Leaders>,
}

impl Writer {
    async fn run(self, shutdown: CancellationToken) -> Result<(), Infallible> {
        let writing = async {
            loop {
                self.log.more.notified().await;
                tokio::time::sleep(GATHERING).await;
                let waiting = self.log.waiting.lock();
                let lines = std::mem::take(&mut *waiting.unwrap_or_else(PoisonError::into_inner));
                self.write(&lines).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = writing => {}
        }
        Ok(())
    }

    async fn write(&self, lines: &[Line]) {
        let topic = TopicName::new(TRANSFORM_LOGS_TOPIC).expect("the name keeps Kafka's rules");
        let view = &self.context.view;
        let exists = view.wait_for(|view| {
            view.topic(&topic)
                .is_some_and(|topic| topic.partition_count > 0)
        });
        // Made by the controller as soon as there is a transform.
        let Ok(view) = tokio::time::timeout(PATIENCE, exists).await else {
            self.lose(lines.len(), "the cluster has no such topic");
            return;
        };
        let count = view.topic(&topic).map_or(1, |topic| topic.partition_count);
        let count = usize::try_from(count).unwrap_or(1);
        for Written {
            partition,
            line_count,
            batch,
        } in batches(lines, count)
        {
            let partition = TopicPartition {
                topic: topic.clone(),
                partition,
            };
            let appended = self
                .leaders
                .append_internal(&partition, batch, Acks::Leader);
            match tokio::time::timeout(PATIENCE, appended).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self.lose(line_count, &error.to_string()),
                Err(_) => self.lose(line_count, "nobody took them in time"),
            }
        }
    }

    fn lose(&self, count: usize, reason: &str) {
        self.log.dropped.fetch_add(count as u64, Ordering::Relaxed);
        warn!(
            count,
            reason, "lines that modules logged are not in `{TRANSFORM_LOGS_TOPIC}`"
        );
    }
}

/// Lines of one partition, as a batch.
struct Written {
    partition: PartitionIndex,
    line_count: usize,
    batch: Bytes,
}

/// Lines as batches for so many partitions: those of one transform go to one.
fn batches(lines: &[Line], partition_count: usize) -> Vec<Written> {
    let mut of_partitions: Vec<Vec<&Line>> = vec![Vec::new(); partition_count];
    for line in lines {
        let key = line.transform.as_str().as_bytes();
        of_partitions[partition_for_key(key, partition_count)].push(line);
    }
    let mut written = Vec::new();
    for (number, own) in (0..).zip(of_partitions) {
        let mut own = own.into_iter().peekable();
        while own.peek().is_some() {
            let mut batch = BatchBuilder::new(BatchOptions::default());
            let mut line_count = 0;
            while let Some(line) = own.next_if(|_| batch.size_bytes() < BATCH_BYTES) {
                let key = line.transform.as_str().as_bytes();
                // The engine passes on no line that does not fit.
                let pushed = batch.push(line.time_ms, Some(key), Some(&line.value), &[]);
                line_count += usize::from(pushed.is_ok());
            }
            written.extend(batch.build().ok().map(|batch| Written {
                partition: PartitionIndex(number),
                line_count,
                batch: Bytes::from(batch),
            }));
        }
    }
    written
}
