//! Consuming: records come from the leaders of their partitions, fetched ahead of their reader.
//!
//! ```text
//! leader --answer--> Fetcher --Arrived--> Consumer --ConsumerBatch--> caller
//!                      |  ^
//!                      v  +-- PartitionProgress (the rules)
//!                    fetch
//! ```
//!
//! The fetcher's task moves bytes and looks at the headers of batches only. Checksums,
//! decompression and decoding happen in the task that reads, so that both go on at once.

mod checkpoint;
mod error;
mod fetch;
mod fetcher;
mod options;
mod progress;
mod record;
mod start;

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use thalweg_record::BatchHeader;
use thalweg_types::{PartitionIndex, TopicName, TopicPartition};
use tokio::sync::mpsc;

use crate::FailureReport;
use crate::client::ClientCore;
use crate::failure_report::FailureCounts;
pub use checkpoint::{Accumulators, Checkpoint, InvalidCheckpoint};
pub use error::ConsumeError;
use fetcher::{Ahead, Fetcher, FetcherMessage};
pub use options::{
    ConsumerOptions, EndOffset, Isolation, OnOutOfRange, PartitionSelection, StartOffset,
};
use progress::{Arrived, PartitionProgress};
pub use record::{ConsumerBatch, ConsumerRecord};

/// Reads the records of one topic.
///
/// Take batches with [`next_batch`](Self::next_batch), which is fastest, or records one by one: a
/// consumer is a [`Stream`](futures::Stream) of them. Records of one partition come in order,
/// without gaps or repeats, also when leaders move or restart meanwhile. Nothing orders the
/// partitions among each other.
///
/// ```no_run
/// # use thalweg_client::{Client, ClientOptions, ConsumerOptions, EndOffset, StartOffset};
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// # let client = Client::connect(ClientOptions::new("127.0.0.1:9003")).await?;
/// let options = ConsumerOptions {
///     start: StartOffset::Beginning,
///     end: EndOffset::LogEnd,
///     ..ConsumerOptions::default()
/// };
/// let mut consumer = client.consumer(&"flights".parse()?, options).await?;
/// while let Some(batch) = consumer.next_batch().await? {
///     for record in batch.records() {
///         println!("{} {:?}", record.offset, record.value);
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Consumer {
    topic: TopicName,
    options: Arc<ConsumerOptions>,
    arrivals: mpsc::Receiver<FetcherMessage>,
    ahead: Arc<Ahead>,
    /// What is left of the arrival that is being read.
    reading: Option<Arrived>,
    /// Records of a batch that were not handed out one by one yet.
    records: VecDeque<ConsumerRecord>,
    /// Where each partition stands, as of the last answer that was handed out whole.
    checkpoints: BTreeMap<PartitionIndex, Checkpoint>,
    failures: FailureReport,
    has_ended: bool,
}

impl Consumer {
    pub(crate) async fn open(
        core: Arc<ClientCore>,
        topic: TopicName,
        options: ConsumerOptions,
    ) -> Result<Self, ConsumeError> {
        let progress = start::begin(&core, &topic, &options).await?;
        if progress.iter().all(PartitionProgress::is_done) {
            start::check_smartmodules(&core, &topic, &options).await?;
        }
        let checkpoints = progress
            .iter()
            .map(|progress| (progress.partition, progress.checkpoint()))
            .collect();
        let options = Arc::new(options);
        let counts = FailureCounts::new();
        let failures = counts.report();
        let (arrivals, ahead) =
            Fetcher::spawn(core, topic.clone(), Arc::clone(&options), progress, counts);
        Ok(Self {
            topic,
            options,
            arrivals,
            ahead,
            reading: None,
            records: VecDeque::new(),
            checkpoints,
            failures,
            has_ended: false,
        })
    }

    /// Where a partition stands: what has been handed out of it, and what an aggregate has come to
    /// there. `None` while an answer of the SPU's has been handed out in part only (take the next
    /// batch), and for a partition that is not read.
    ///
    /// An `end` within a batch of the log has no checkpoint of its own when there is an aggregate:
    /// then this is the last one before it.
    #[must_use]
    pub fn checkpoint(&self, partition: PartitionIndex) -> Option<&Checkpoint> {
        let of_it = |reading: &Arrived| reading.partition == partition;
        if self.reading.as_ref().is_some_and(of_it) || !self.records.is_empty() {
            return None;
        }
        self.checkpoints.get(&partition)
    }

    /// The records that SmartModules failed on and that did not end the stream.
    #[must_use]
    pub fn failures(&self) -> FailureReport {
        self.failures.clone()
    }

    /// The next batch, which has at least one record; `None` once every partition has come to its
    /// end. Cancel-safe. Don't mix with reading record by record.
    ///
    /// # Errors
    /// When reading can't go on. The consumer has ended then, and answers `None`.
    pub async fn next_batch(&mut self) -> Result<Option<ConsumerBatch>, ConsumeError> {
        std::future::poll_fn(|context| self.poll_next_batch(context)).await
    }

    fn poll_next_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<ConsumerBatch>, ConsumeError>> {
        loop {
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            match self.read_batch() {
                Ok(None) => {}
                Ok(Some(batch)) if batch.record_count() == 0 => continue,
                Ok(Some(batch)) => return Poll::Ready(Ok(Some(batch))),
                Err(error) => return Poll::Ready(Err(self.ended(error))),
            }
            match ready!(self.arrivals.poll_recv(context)) {
                Some(Ok(arrived)) => {
                    self.ahead.take(arrived.batches.len());
                    self.reading = Some(arrived);
                }
                Some(Err(error)) => return Poll::Ready(Err(self.ended(error))),
                None => self.has_ended = true,
            }
        }
    }

    /// The next batch of what has arrived already.
    fn read_batch(&mut self) -> Result<Option<ConsumerBatch>, ConsumeError> {
        let Some(arrived) = &mut self.reading else {
            return Ok(None);
        };
        if arrived.batches.is_empty() {
            self.finish_reading();
            return Ok(None);
        }
        let opened = ConsumerBatch::open(
            arrived.partition,
            &arrived.batches,
            arrived.wanted.clone(),
            self.options.batch_bytes_max,
        );
        let batch = opened.map_err(|error| ConsumeError::Corrupt {
            partition: TopicPartition {
                topic: self.topic.clone(),
                partition: arrived.partition,
            },
            offset: BatchHeader::parse(&arrived.batches)
                .map_or(arrived.wanted.start, |header| header.base_offset),
            reason: error.to_string(),
        })?;
        arrived.batches.advance(batch.encoded_bytes());
        if arrived.batches.is_empty() {
            self.finish_reading();
        }
        Ok(Some(batch))
    }

    /// Notes where the partition stands, now that all of the answer has been handed out.
    fn finish_reading(&mut self) {
        let Some(arrived) = self.reading.take() else {
            return;
        };
        if let (Some(next), Some(checkpoint)) =
            (arrived.next, self.checkpoints.get_mut(&arrived.partition))
        {
            checkpoint.offset = next;
            checkpoint.accumulators.apply(arrived.change);
        }
    }

    fn ended(&mut self, error: ConsumeError) -> ConsumeError {
        self.has_ended = true;
        self.arrivals.close();
        error
    }
}

impl futures::Stream for Consumer {
    type Item = Result<ConsumerRecord, ConsumeError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(record) = self.records.pop_front() {
                return Poll::Ready(Some(Ok(record)));
            }
            match ready!(self.poll_next_batch(context)) {
                Ok(Some(batch)) => self.records.extend(batch.shared_records()),
                Ok(None) => return Poll::Ready(None),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }
}
