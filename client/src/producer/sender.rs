//! Sends one partition's batches to its leader, and settles what became of them.
//!
//! [`PartitionSender`] is the task: it owns the batches under way and the link, and decides
//! nothing. [`SendOrder`] decides what may be sent and what an answer means; [`PartitionQueue`]
//! decides when a batch has waited long enough. A sender ends once its queue is closed and
//! everything is settled. Its failure would stop its partition only, and there is none.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use thalweg_record::stamp_sequence;
use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_types::TopicPartition;
use thalweg_wire::messages::produce_response::PartitionProduceResponse;
use thalweg_wire::messages::{ProduceRequest, ProduceResponse};
use thalweg_wire::tags::{self, TaggedFields};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::accumulation::{Accumulation, NotInTurn};
use super::delivery::{BatchDelivery, BatchStored};
use super::link::{LeaderLink, LinkError};
use super::queue::{OpenBatch, PartitionQueue, Take};
use super::request::{Judgement, PRODUCE_VERSION, ProduceFrame, judge_answer, judge_failure};
use super::state::{Attempt, BatchNumber, Resume, SendOrder, Stamp, Verdict};
use super::{Acks, ProduceError, ProducerCore};
use crate::data::{Reply, RequestError};

/// The waits between attempts.
const RETRY: BackoffOptions = BackoffOptions {
    initial: Duration::from_millis(20),
    max: Duration::from_secs(1),
};

/// What is said of a batch that has not failed.
const NO_FAILURE: &str = "none";

/// What a sender waits for.
type Answer = Pin<Box<dyn Future<Output = (BatchNumber, Judgement)> + Send>>;

/// The task behind one partition of a producer.
pub(crate) struct PartitionSender {
    core: Arc<ProducerCore>,
    queue: Arc<PartitionQueue>,
    partition: TopicPartition,
    order: SendOrder,
    link: LeaderLink,
    /// Where there are SmartModules.
    accumulation: Option<Accumulation>,
    batches: HashMap<BatchNumber, SentBatch>,
    answers: FuturesOrdered<Answer>,
    backoff: Backoff,
}

/// What became of a frame.
enum Written {
    /// It is on its way, and will be answered.
    Answers(Reply),
    /// It is on its way, and no answer will come.
    Silently,
    /// It was not sent: its stream waits for what earlier batches come to.
    NotInTurn,
}

/// A batch that was sent at least once.
struct SentBatch {
    bytes: Bytes,
    stamp: Stamp,
    delivery: Arc<BatchDelivery>,
    memory_bytes: usize,
    /// When it is given up.
    deadline: Instant,
    last_failure: String,
}

impl PartitionSender {
    /// Starts the sender of `queue`'s partition.
    pub(crate) fn spawn(core: &Arc<ProducerCore>, queue: Arc<PartitionQueue>) {
        let partition = TopicPartition {
            topic: core.topic.clone(),
            partition: queue.partition(),
        };
        let accumulation = Accumulation::of(&core.options);
        let order = SendOrder::new(core.identity, core.options.requests_in_flight);
        let sender = Self {
            order: order.in_order(accumulation.is_some()),
            accumulation,
            link: LeaderLink::new(Arc::clone(core), partition.clone()),
            core: Arc::clone(core),
            queue,
            partition,
            batches: HashMap::new(),
            answers: FuturesOrdered::new(),
            backoff: Backoff::new(RETRY),
        };
        core.client
            .tasks
            .spawn("partition-sender", |shutdown| async move {
                sender.run(shutdown).await;
                Ok::<_, Infallible>(())
            });
    }

    async fn run(mut self, shutdown: CancellationToken) {
        loop {
            if self.order.may_resume() {
                self.resume().await;
                continue;
            }
            let mut wake_at = None;
            while self.order.may_start() {
                match self.queue.take(Instant::now(), self.under_way()) {
                    Take::Batch(batch) => self.start(batch).await,
                    Take::Later(due) => {
                        wake_at = Some(due);
                        break;
                    }
                    Take::Closed if self.batches.is_empty() => {
                        self.link.close().await;
                        return;
                    }
                    Take::Closed | Take::Empty => break,
                }
            }
            if self.order.may_resume() {
                continue;
            }
            // All of these may be dropped half-way: an answer that has come stays in `answers`.
            tokio::select! {
                () = shutdown.cancelled() => return self.fail_everything(),
                Some((number, judgement)) = self.answers.next() => self.settle(number, judgement),
                () = self.queue.woken(), if self.order.may_start() => {}
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {}
            }
        }
    }

    /// How many batches are under way that the next one may wait for.
    fn under_way(&self) -> usize {
        let of_any = self.core.under_way_beside(self.partition.partition);
        self.order.unsettled_count().max(of_any)
    }

    /// Seals a batch and sends it for the first time.
    async fn start(&mut self, batch: OpenBatch) {
        self.core.batch_closed(self.partition.partition);
        self.core.batch_begun();
        let mut builder = batch.builder;
        let (number, stamp) = self.order.start(builder.record_count());
        builder.set_sequence(stamp.producer_id, stamp.epoch, stamp.sequence);
        let sent = SentBatch {
            bytes: Bytes::new(),
            stamp,
            delivery: batch.delivery,
            memory_bytes: batch.memory_bytes,
            deadline: batch.opened_at + self.core.options.delivery_timeout,
            last_failure: NO_FAILURE.to_owned(),
        };
        self.batches.insert(number, sent);
        match builder.build() {
            Ok(bytes) => {
                if let Some(batch) = self.batches.get_mut(&number) {
                    batch.bytes = bytes.into();
                }
                self.transmit(number).await;
            }
            Err(error) => {
                self.order.settle(number, Attempt::Refused);
                let reason = error.to_string();
                self.finish(number, Err(ProduceError::InvalidRecord { reason }));
            }
        }
    }

    /// Sends again what must be, once every answer has come.
    async fn resume(&mut self) {
        self.give_up_what_is_late();
        if !self.order.may_resume() {
            return;
        }
        sleep(self.backoff.next_delay()).await;
        match self.order.resume() {
            Resume::Send(batches) => {
                for (number, stamp) in batches {
                    if let Some(batch) = self.batches.get_mut(&number) {
                        batch.restamp(stamp);
                    }
                    self.transmit(number).await;
                }
            }
            Resume::Lost(number, stamp) => {
                let error = ProduceError::OutOfOrderSequence {
                    partition: self.partition.clone(),
                    sequence: stamp.sequence,
                };
                self.finish(number, Err(error));
            }
            Resume::NewIdentity => match self.core.client.new_producer_identity().await {
                Ok((producer_id, epoch)) => self.order.renew(producer_id, epoch),
                Err(error) => debug!(%error, partition = %self.partition, "no producer id yet"),
            },
        }
    }

    /// Writes a batch to the leader, and notes its answer as awaited.
    async fn transmit(&mut self, number: BatchNumber) {
        let Some(batch) = self.batches.get(&number) else {
            return;
        };
        let (bytes, deadline) = (batch.bytes.clone(), batch.deadline);
        match self.write(number, bytes).await {
            Ok(Written::Answers(reply)) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let wait = self.core.options.request_timeout.min(left);
                let partition = self.partition.clone();
                self.answers.push_back(Box::pin(async move {
                    (number, answer(&partition, reply, wait).await)
                }));
            }
            Ok(Written::Silently) => {
                self.order.settle(number, Attempt::Stored);
                self.finish(number, Ok(BatchStored::UNKNOWN));
            }
            Ok(Written::NotInTurn) => {
                let not_sent = Attempt::Failed {
                    maybe_stored: false,
                };
                self.order.settle(number, not_sent);
            }
            Err(LinkError::NotNow(error)) => self.settle(number, judge_failure(error)),
            Err(LinkError::Never(error)) => {
                self.order.settle(number, Attempt::Refused);
                self.finish(number, Err(error));
            }
        }
    }

    async fn write(&mut self, number: BatchNumber, batch: Bytes) -> Result<Written, LinkError> {
        let link = self.link.get().await?;
        let mut fields = TaggedFields::new();
        if let Some(stream) = link.stream {
            tags::set_stream_id(&mut fields, stream);
        }
        if let Some(accumulation) = &mut self.accumulation {
            let is_oldest = self.order.is_oldest(number);
            if let Err(NotInTurn) = accumulation.hand_back(&link, is_oldest, &mut fields) {
                return Ok(Written::NotInTurn);
            }
        }
        let options = &self.core.options;
        let connection = link.connection;
        let correlation_id = connection.next_correlation_id();
        let frame = ProduceFrame {
            correlation_id,
            client_id: connection.client_id(),
            acks: options.acks.wire_value(),
            timeout_ms: i32::try_from(options.request_timeout.as_millis()).unwrap_or(i32::MAX),
            partition: &self.partition,
            fields: &fields,
        };
        let parts = frame.around(batch);
        let written = if options.acks == Acks::None {
            let written = connection.send_without_reply(&parts).await;
            written.map(|()| Written::Silently)
        } else {
            let written = connection.send(correlation_id, &parts).await;
            written.map(Written::Answers)
        };
        written.map_err(LinkError::NotNow)
    }

    fn settle(&mut self, number: BatchNumber, judgement: Judgement) {
        self.core.failures.add(judgement.failed_records);
        let verdict = self.order.settle(number, judgement.attempt);
        if let Some(accumulation) = &mut self.accumulation {
            match verdict {
                Verdict::Delivered => accumulation.acknowledged(judgement.accumulated),
                Verdict::Refused | Verdict::OutcomeUnknown | Verdict::SendAgain => {
                    accumulation.lost();
                }
            }
        }
        let failure = judgement.failure;
        if judgement.link_is_stale {
            self.link.forget();
        }
        // Without an answer to expect, sending again what may have arrived would double it.
        let unrepeatable = self.core.options.acks == Acks::None
            && judgement.attempt == Attempt::Failed { maybe_stored: true };
        match (verdict, failure) {
            (Verdict::Delivered, _) => {
                self.backoff.reset();
                let mut stored = judgement.stored;
                if !self.core.options.smartmodules.is_empty() {
                    // A module may drop or multiply records: which offset is whose is not known.
                    stored.base_offset = None;
                }
                self.finish(number, Ok(stored));
            }
            (Verdict::SendAgain, Some(failure)) if unrepeatable => {
                self.order.give_up(number);
                self.finish(number, Err(failure));
            }
            (Verdict::SendAgain, failure) => {
                if let (Some(batch), Some(failure)) = (self.batches.get_mut(&number), failure) {
                    debug!(partition = %self.partition, %failure, "batch will be sent again");
                    // That its own time was over says less than why it was not stored before.
                    if batch.deadline > Instant::now() || batch.last_failure == NO_FAILURE {
                        batch.last_failure = failure.to_string();
                    }
                }
            }
            (Verdict::Refused, Some(failure)) => self.finish(number, Err(failure)),
            (Verdict::Refused | Verdict::OutcomeUnknown, failure) => {
                let last_failure = failure.map(|failure| failure.to_string());
                self.finish(
                    number,
                    Err(self.too_late(true, last_failure.unwrap_or_default())),
                );
            }
        }
    }

    /// Gives up the batches whose time has passed, sent or not.
    fn give_up_what_is_late(&mut self) {
        let now = Instant::now();
        let late = self
            .batches
            .iter()
            .filter(|(_, batch)| batch.deadline <= now);
        let mut late: Vec<_> = late.map(|(number, _)| *number).collect();
        late.sort_unstable();
        let mut last_failure = String::new();
        for number in late {
            let maybe_stored = self.order.give_up(number);
            if let Some(accumulation) = &mut self.accumulation {
                accumulation.lost();
            }
            if let Some(batch) = self.batches.get(&number) {
                last_failure.clone_from(&batch.last_failure);
            }
            let error = self.too_late(maybe_stored, last_failure.clone());
            self.finish(number, Err(error));
        }
        let age = self.core.options.delivery_timeout;
        while let Some(batch) = self.queue.take_older_than(now, age) {
            let error = self.too_late(false, last_failure.clone());
            self.core
                .settled(&batch.delivery, batch.memory_bytes, Err(error));
        }
    }

    fn finish(&mut self, number: BatchNumber, outcome: Result<BatchStored, ProduceError>) {
        if let Some(batch) = self.batches.remove(&number) {
            self.queue.reuse(batch.bytes);
            self.core
                .settled(&batch.delivery, batch.memory_bytes, outcome);
            self.core.batch_ended(self.partition.partition);
        }
    }

    fn fail_everything(mut self) {
        self.queue.close();
        for (_, batch) in self.batches.drain() {
            self.core.settled(
                &batch.delivery,
                batch.memory_bytes,
                Err(ProduceError::Closed),
            );
        }
        while let Some(batch) = self.queue.take_older_than(Instant::now(), Duration::ZERO) {
            self.core.settled(
                &batch.delivery,
                batch.memory_bytes,
                Err(ProduceError::Closed),
            );
        }
    }

    fn too_late(&self, outcome_unknown: bool, last_failure: String) -> ProduceError {
        ProduceError::DeliveryTimeout {
            partition: self.partition.clone(),
            after: self.core.options.delivery_timeout,
            outcome_unknown,
            last_failure,
        }
    }
}

impl SentBatch {
    /// Gives the batch another identity or sequence.
    fn restamp(&mut self, stamp: Stamp) {
        if self.stamp == stamp {
            return;
        }
        let mut bytes = Vec::from(std::mem::take(&mut self.bytes));
        stamp_sequence(&mut bytes, stamp.producer_id, stamp.epoch, stamp.sequence)
            .expect("the bytes are a batch that was built here");
        self.bytes = bytes.into();
        self.stamp = stamp;
    }
}

/// Waits for the leader's answer and judges it.
async fn answer(partition: &TopicPartition, reply: Reply, wait: Duration) -> Judgement {
    let answer = reply.decode::<ProduceRequest>(PRODUCE_VERSION, wait).await;
    let partition_answer = answer.and_then(|answer| {
        only_partition(answer).ok_or_else(|| RequestError::Protocol {
            address: partition.to_string(),
            reason: "its answer to Produce is empty".to_owned(),
        })
    });
    match partition_answer {
        Ok(answer) => judge_answer(partition, &answer),
        Err(error) => judge_failure(error),
    }
}

fn only_partition(answer: ProduceResponse) -> Option<PartitionProduceResponse> {
    let topics = answer.responses.into_iter();
    topics.flat_map(|topic| topic.partition_responses).next()
}
