//! A topic's chain over one partition: set up, kept current, and what it makes of a batch.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::batches;
use thalweg_storage::{Appended, ProducerSequences};
use thalweg_types::{OnError, PartitionIndex};
use thalweg_wire::{
    FailedRecords, KafkaError, MODULE_REFUSED, ModuleSource, OpenStreamRequest, STREAM_FAILED,
    StreamPurpose, StreamStep,
};

use super::Turn;
use crate::cluster_view::{TopicView, View};
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain as with_causes};
use crate::data::streams::{NotTransformed, Stream, add_counts, make_stream, sequences_of};
use crate::replica::Replica;

/// How long a chain that can't be set up is not tried again: those who produce hear why at once.
const SET_UP_PAUSE: Duration = Duration::from_secs(1);

/// A topic's chain over one partition.
#[derive(Default)]
pub(in crate::data) struct PartitionChain {
    made: Option<Made>,
    failed: Option<FailedSetUp>,
}

/// A chain, and what it was made from.
struct Made {
    topic: Arc<TopicView>,
    /// Of each step's module.
    sha256s: Vec<String>,
    /// As a producer's own, for one partition, and shared by all connections.
    stream: Arc<Stream>,
}

/// Why a chain could not be set up a moment ago.
struct FailedSetUp {
    topic: Arc<TopicView>,
    /// On the monotonic clock.
    until: Duration,
    refusal: Refusal,
}

/// What became of a batch.
pub(in crate::data) enum Passed {
    /// The log has it already; the chain did not see it again.
    Stored(Appended),
    /// To be appended in its place.
    Transformed(TopicTransformed),
}

/// What a topic's chain made of a batch.
pub(in crate::data) struct TopicTransformed {
    /// Empty where nothing passed.
    pub(in crate::data) batches: Bytes,
    /// How the producer counted what it sent, where it is idempotent.
    pub(in crate::data) sequences: Option<ProducerSequences>,
    /// Whether each record that was sent is one that is to be appended.
    pub(in crate::data) is_one_to_one: bool,
    /// Records that the chain left out.
    pub(in crate::data) failed: Vec<FailedRecords>,
}

impl PartitionChain {
    /// The chain as the topic wants it now, set up if it is not.
    async fn current(
        &mut self,
        shared: &Shared,
        topic: &Arc<TopicView>,
    ) -> Result<Arc<Stream>, Refusal> {
        let view = shared.context.view.current();
        if let Some(made) = &self.made
            && made.is_current(topic, &view)
        {
            return Ok(Arc::clone(&made.stream));
        }
        let now = shared.context.clock.monotonic();
        if let Some(failed) = &self.failed
            && failed.until > now
            && Arc::ptr_eq(&failed.topic, topic)
        {
            return Err(failed.refusal.clone());
        }
        self.made = None;
        let made = set_up(shared, topic).await.inspect_err(|refusal| {
            self.failed = Some(FailedSetUp {
                topic: Arc::clone(topic),
                until: shared.context.clock.monotonic() + SET_UP_PAUSE,
                refusal: refusal.clone(),
            });
        })?;
        self.failed = None;
        let stream = Arc::clone(&made.stream);
        self.made = Some(made);
        Ok(stream)
    }
}

impl Made {
    /// Whether it is what the topic wants, and its names still stand for the same bytes. What an SC
    /// has not told in this life counts as unchanged.
    fn is_current(&self, topic: &Arc<TopicView>, view: &View) -> bool {
        let same_spec = Arc::ptr_eq(&self.topic, topic)
            || (self.topic.id == topic.id && self.topic.produce_chain == topic.produce_chain);
        let steps = topic.produce_chain.steps.iter();
        same_spec
            && steps.zip(&self.sha256s).all(|(step, sha256)| {
                let spec = view.smart_modules.get(&step.uses.name);
                let revision = spec.and_then(|spec| spec.resolve(&step.uses).ok());
                revision.is_none_or(|revision| revision.sha256 == *sha256)
            })
    }
}

impl Turn {
    /// Puts a produced batch, or what the producer's own chain made of one, through the topic's
    /// chain: all of it, or an error. Dead letters are acknowledged when it returns. `sequences` are
    /// the producer's where its own chain changed the batch.
    pub(in crate::data) async fn pass(
        &mut self,
        shared: &Shared,
        replica: &Replica,
        produced: Bytes,
        sequences: Option<ProducerSequences>,
    ) -> Result<Passed, NotTransformed> {
        let sequences = sequences.or_else(|| sequences_of(batches(&produced).next()?.ok()?));
        if let Some(sequences) = sequences
            && let Some(stored) = find_duplicate(replica, sequences).await?
        {
            return Ok(Passed::Stored(stored));
        }
        let stream = self.chain.current(shared, &self.topic).await?;
        let sent = record_count(&produced);
        let partition = replica.topic_partition().partition;
        let run = self.run(shared, &stream, partition, produced).await;
        let (batches, failed) = run.map_err(for_any_client)?;
        Ok(Passed::Transformed(TopicTransformed {
            is_one_to_one: !stream.may_add_records() && record_count(&batches) == sent,
            batches,
            sequences,
            failed,
        }))
    }

    async fn run(
        &self,
        shared: &Shared,
        stream: &Arc<Stream>,
        partition: PartitionIndex,
        produced: Bytes,
    ) -> Result<(Bytes, Vec<FailedRecords>), NotTransformed> {
        let mut kept = Vec::new();
        let mut failed = Vec::new();
        let mut from = 0;
        while from < produced.len() {
            let rest = produced.slice(from..);
            let Some(Ok(batch)) = batches(&rest).next() else {
                let refusal = Refusal::new(KafkaError::CorruptMessage, "the batch is damaged");
                return Err(refusal.into());
            };
            let batch = rest.slice(..batch.bytes().len());
            from += batch.len();
            let key = (self.topic.name.clone(), partition);
            // In its turn and not before: whoever holds some of this budget waits for nobody.
            let room = shared.streamed.reserve(batch.len()).await;
            let mut passed = stream.transform(key, batch).await?;
            drop(room);
            add_counts(&mut failed, passed.deliver(&shared.dead_letters).await?);
            kept.push(passed.batches);
        }
        let kept = match <[Bytes; 1]>::try_from(kept) {
            Ok([only]) => only,
            Err(several) => Bytes::from(several.concat()),
        };
        Ok((kept, failed))
    }
}

/// Every Kafka client is to understand what a topic's chain says.
fn for_any_client(mut not: NotTransformed) -> NotTransformed {
    if not.refusal.error == KafkaError::Unknown(STREAM_FAILED) {
        not.refusal.error = KafkaError::InvalidRecord;
    }
    not
}

fn record_count(encoded: &[u8]) -> i64 {
    let counts = batches(encoded).map_while(Result::ok);
    counts
        .map(|batch| i64::from(batch.header().record_count))
        .sum()
}

async fn find_duplicate(
    replica: &Replica,
    sequences: ProducerSequences,
) -> Result<Option<Appended>, Refusal> {
    let log = Arc::clone(replica.log());
    // It may have to write what is queued.
    tokio::task::spawn_blocking(move || log.find_duplicate(&sequences))
        .await
        .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))?
        .map_err(Refusal::from)
}

async fn set_up(shared: &Shared, topic: &Arc<TopicView>) -> Result<Made, Refusal> {
    let mut steps = Vec::new();
    let mut sha256s = Vec::new();
    for step in &topic.produce_chain.steps {
        let found = shared.context.modules.find(&step.uses).await;
        // A moment later the SC, or the SPU that has the bytes, may be back: clients retry.
        let found = found
            .map_err(|error| refused(topic, KafkaError::KafkaStorageError, &with_causes(&error)))?;
        sha256s.push(found.sha256);
        steps.push(StreamStep {
            name: found.module.to_string(),
            source: ModuleSource::Wasm(found.wasm),
            params: step.with.clone(),
            on_error: step.on_error.clone(),
            look_back: step.look_back,
        });
    }
    let has_dead_letters = steps
        .iter()
        .any(|step: &StreamStep| matches!(step.on_error, OnError::DeadLetter(_)));
    let request = OpenStreamRequest {
        purpose: StreamPurpose::Produce,
        steps,
        accumulator: None,
        topic: has_dead_letters.then(|| topic.name.clone()),
        is_by_key: false,
    };
    let made = make_stream(shared, request).await;
    let stream = made.map_err(|refusal| {
        let code = match refusal.error {
            KafkaError::Unknown(MODULE_REFUSED) => KafkaError::InvalidRecord,
            other => other,
        };
        refused(topic, code, &refusal.message)
    })?;
    Ok(Made {
        topic: Arc::clone(topic),
        sha256s,
        stream: Arc::new(stream),
    })
}

fn refused(topic: &TopicView, code: KafkaError, reason: &str) -> Refusal {
    let message = format!(
        "the chain of topic `{}` can't be used: {reason}",
        topic.name
    );
    Refusal::new(code, message)
}
