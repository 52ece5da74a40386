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
use crate::group::{GroupLink, GroupOptions, Member, Notice, Offsets};
pub use checkpoint::{Accumulators, Checkpoint, InvalidCheckpoint};
pub use error::ConsumeError;
pub(crate) use fetcher::FetcherCommand;
use fetcher::{Ahead, Fetcher, FetcherMessage, Fetching};
pub use options::{
    ConsumerOptions, EndOffset, Isolation, OnOutOfRange, PartitionSelection, StartOffset,
};
use progress::{Arrived, PartitionProgress};
pub use record::{ConsumerBatch, ConsumerRecord};
pub(crate) use start::begin_partitions;

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
    group: Option<GroupLink>,
    has_ended: bool,
}

/// What a consumer has for its program.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum ConsumerEvent {
    /// Records.
    Batch(ConsumerBatch),
    /// The group has given it these partitions, too.
    Assigned(Vec<PartitionIndex>),
    /// The group takes these away. Nothing more of them comes, and they go to other members when the
    /// next event is asked for: what was handed out may be committed before.
    Revoked(Vec<PartitionIndex>),
    /// The group has given the member up, which did not ask for records or was not heard of for too
    /// long: others may have read these partitions already, from what was committed last.
    Lost(Vec<PartitionIndex>),
}

impl Consumer {
    pub(crate) async fn open(
        core: Arc<ClientCore>,
        topic: TopicName,
        options: ConsumerOptions,
    ) -> Result<Self, ConsumeError> {
        if let Some(group) = options.group.clone() {
            return Self::open_in_group(core, topic, options, group).await;
        }
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
        let fetching = Fetcher::spawn(core, topic.clone(), Arc::clone(&options), progress, counts);
        Ok(Self {
            topic,
            options,
            arrivals: fetching.arrivals,
            ahead: fetching.ahead,
            reading: None,
            records: VecDeque::new(),
            checkpoints,
            failures,
            group: None,
            has_ended: false,
        })
    }

    async fn open_in_group(
        core: Arc<ClientCore>,
        topic: TopicName,
        options: ConsumerOptions,
        group: GroupOptions,
    ) -> Result<Self, ConsumeError> {
        start::check_group(&core, &topic, &options).await?;
        start::check_smartmodules(&core, &topic, &options).await?;
        let options = Arc::new(options);
        let counts = FailureCounts::new();
        let failures = counts.report();
        let (own_core, own_topic) = (Arc::clone(&core), topic.clone());
        let Fetching {
            arrivals,
            ahead,
            commands,
        } = Fetcher::spawn(
            own_core,
            own_topic,
            Arc::clone(&options),
            Vec::new(),
            counts,
        );
        let member = Member::spawn(core, topic.clone(), Arc::clone(&options), group, commands);
        Ok(Self {
            topic,
            options,
            arrivals,
            ahead,
            reading: None,
            records: VecDeque::new(),
            checkpoints: BTreeMap::new(),
            failures,
            group: Some(member),
            has_ended: false,
        })
    }

    /// The partitions that the consumer has now: of a group, or else all that it reads.
    #[must_use]
    pub fn assigned(&self) -> Vec<PartitionIndex> {
        match &self.group {
            Some(group) => group.assigned(),
            None => self.checkpoints.keys().copied().collect(),
        }
    }

    /// Commits all that was handed out to the consumer's group: whoever has the partitions next goes on
    /// there.
    ///
    /// # Errors
    /// When they could not be committed, and outside of a group. The consumer goes on.
    pub async fn commit(&mut self) -> Result<(), ConsumeError> {
        let left = self.records.front();
        let left = left.map(|record| (record.partition, record.offset));
        match &mut self.group {
            Some(group) => group.commit(left).await,
            None => Err(ConsumeError::NoGroup),
        }
    }

    /// Commits these offsets, each the next record that is to be read.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn commit_offsets(&self, offsets: &Offsets) -> Result<(), ConsumeError> {
        match &self.group {
            Some(group) => group.commit_offsets(offsets).await,
            None => Err(ConsumeError::NoGroup),
        }
    }

    /// Ends the consumer. In a group it commits for the last time, where that is automatic, and leaves,
    /// so that others go on at once. A consumer that is just dropped does so as well, later.
    pub async fn close(mut self) {
        let left = self.records.front();
        let left = left.map(|record| (record.partition, record.offset));
        if let Some(mut group) = self.group.take() {
            if let Some((partition, offset)) = left {
                group.hands_out(partition, offset);
            }
            group.leave().await;
        }
    }

    /// As [`next_batch`](Self::next_batch), and what the group does with the consumer's partitions.
    /// Cancel-safe.
    ///
    /// # Errors
    /// As [`next_batch`](Self::next_batch).
    pub async fn next_event(&mut self) -> Result<Option<ConsumerEvent>, ConsumeError> {
        std::future::poll_fn(|context| self.poll_next_event(context)).await
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
            match ready!(self.poll_next_event(context)) {
                Ok(Some(ConsumerEvent::Batch(batch))) => return Poll::Ready(Ok(Some(batch))),
                Ok(Some(_)) => {}
                Ok(None) => return Poll::Ready(Ok(None)),
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_next_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<ConsumerEvent>, ConsumeError>> {
        if let Some(group) = &mut self.group {
            group.asks();
        }
        let event = self.poll_event(context);
        if let (Some(group), Poll::Ready(_)) = (&mut self.group, &event) {
            group.gets();
        }
        event
    }

    fn poll_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<ConsumerEvent>, ConsumeError>> {
        loop {
            if self.has_ended {
                return Poll::Ready(Ok(None));
            }
            if let Some(group) = &mut self.group
                && let Poll::Ready(Some(notice)) = group.poll_notice(context)
            {
                return Poll::Ready(self.heed(notice).map(Some));
            }
            match self.read_batch() {
                Ok(None) => {}
                Ok(Some(batch)) if batch.record_count() == 0 => continue,
                Ok(Some(batch)) => return Poll::Ready(Ok(Some(ConsumerEvent::Batch(batch)))),
                Err(error) => return Poll::Ready(Err(self.ended(error))),
            }
            match ready!(self.arrivals.poll_recv(context)) {
                Some(Ok(arrived)) => {
                    self.ahead.take(arrived.batches.len());
                    if self.is_ours(&arrived) {
                        self.reading = Some(arrived);
                    }
                }
                Some(Err(error)) => return Poll::Ready(Err(self.ended(error))),
                None => self.has_ended = true,
            }
        }
    }

    /// Whether what was fetched is of a partition that the consumer still has.
    fn is_ours(&self, arrived: &Arrived) -> bool {
        let group = self.group.as_ref();
        group.is_none_or(|group| group.is_turn(arrived.partition, arrived.turn))
    }

    /// Does what the group says, and what the program is told of it.
    fn heed(&mut self, notice: Notice) -> Result<ConsumerEvent, ConsumeError> {
        match notice {
            Notice::Assigned(partitions) => Ok(ConsumerEvent::Assigned(partitions)),
            Notice::Revoke { partitions, let_go } => {
                self.stop_reading(&partitions);
                if let Some(group) = &mut self.group {
                    group.let_go(&partitions, let_go);
                }
                Ok(ConsumerEvent::Revoked(partitions))
            }
            Notice::Lost(partitions) => {
                self.stop_reading(&partitions);
                if let Some(group) = &mut self.group {
                    group.forget(&partitions);
                }
                Ok(ConsumerEvent::Lost(partitions))
            }
            Notice::Failed(error) => Err(self.ended(error)),
        }
    }

    /// Drops what has arrived of partitions and was not handed out.
    fn stop_reading(&mut self, partitions: &[PartitionIndex]) {
        let is_of_them = |partition: PartitionIndex| partitions.contains(&partition);
        if let Some(left) = self.records.front()
            && is_of_them(left.partition)
        {
            let (partition, offset) = (left.partition, left.offset);
            self.records.clear();
            if let Some(group) = &mut self.group {
                group.hands_out(partition, offset);
            }
        }
        self.reading = self
            .reading
            .take()
            .filter(|reading| !is_of_them(reading.partition));
        self.checkpoints
            .retain(|partition, _| !is_of_them(*partition));
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
        if let Some(group) = &mut self.group {
            let handed_out = batch.next_offset().min(arrived.wanted.end);
            group.hands_out(arrived.partition, handed_out);
        }
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
        let Some(next) = arrived.next else {
            return;
        };
        if let Some(group) = &mut self.group {
            group.hands_out(arrived.partition, next);
        }
        let checkpoints = self.checkpoints.entry(arrived.partition);
        let checkpoint = checkpoints.or_insert_with(|| Checkpoint::at(next));
        checkpoint.offset = next;
        checkpoint.accumulators.apply(arrived.change);
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
