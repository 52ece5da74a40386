//! A topic's chain over one partition: set up, kept current, and what it makes of a batch.
//!
//! A chain of modules that go by what they have seen has seen what the log holds: it is opened anew,
//! from the log, whenever that may not be so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_storage::Appended;
use thalweg_types::OnError;
use thalweg_wire::{
    KafkaError, MODULE_REFUSED, ModuleSource, OpenStreamRequest, StreamPurpose, StreamStep,
};

use super::dedup::PartitionDedup;
use super::known::{Known, Unsettled};
use super::partition_key;
use crate::cluster_view::{TopicView, View};
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain as with_causes};
use crate::data::streams::{NotTransformed, Opening, Restored, Stream, make_stream};
use crate::metrics::Place;
use crate::replica::Replica;

/// How long a chain that can't be set up is not tried again: those who produce hear why at once.
const SET_UP_PAUSE: Duration = Duration::from_secs(1);

/// A topic's chain over one partition.
#[derive(Default)]
pub(in crate::data) struct PartitionChain {
    made: Option<Made>,
    failed: Option<FailedSetUp>,
    /// What the log was known to hold when the last batch was settled.
    known: Option<Known>,
    /// What keeps duplicates out, where the topic wants that.
    pub(super) dedup: PartitionDedup,
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

impl PartitionChain {
    /// The chain as the topic wants it now, set up if it is not.
    pub(super) async fn current(
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
        self.known = None;
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

    /// Sees to it that a stateful chain has seen what the log holds, and nothing else.
    pub(super) async fn catch_up(
        &mut self,
        shared: &Shared,
        replica: &Replica,
        stream: &Arc<Stream>,
    ) -> Result<(), NotTransformed> {
        if !stream.is_stateful() {
            return Ok(());
        }
        let key = partition_key(replica);
        if self
            .known
            .as_ref()
            .is_some_and(|known| known.is_of(replica))
        {
            if stream.stands(&key) {
                return Ok(());
            }
        } else {
            self.known = None;
            self.known = Some(Known::read(shared, replica, stream).await?);
        }
        let known = self.known.as_ref();
        let opening = Opening {
            log: Arc::clone(replica.log()),
            restored: known.map_or(Restored::Nothing, |known| known.accumulated.clone()),
        };
        stream.begin(shared, &key, opening).await
    }

    /// The chain as it was set up last.
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.made.as_ref().map(|made| &*made.stream)
    }

    /// Whether the next batch goes by what became of this one.
    pub(super) fn is_stateful(&self) -> bool {
        self.dedup.is_used() || self.stream().is_some_and(Stream::is_stateful)
    }

    /// Notes that the log has what came of the last batch, or that there is nothing to append of it.
    pub(super) fn settle(
        &mut self,
        replica: &Replica,
        appended: Option<Appended>,
        unsettled: Unsettled,
    ) {
        self.dedup.settle(replica, appended);
        if let Some(made) = &self.made {
            made.stream.settle(&partition_key(replica));
        }
        let known = self.known.take();
        self.known = known.and_then(|known| known.followed_by(appended, unsettled));
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
    let mut aggregates = topic.produce_chain.steps.iter();
    let aggregate = aggregates.find_map(|step| step.aggregate.as_ref());
    let request = OpenStreamRequest {
        purpose: StreamPurpose::Produce,
        steps,
        accumulator: aggregate.map(|aggregate| Bytes::from(aggregate.initial.clone())),
        topic: has_dead_letters.then(|| topic.name.clone()),
        is_by_key: aggregate.is_some_and(|aggregate| aggregate.by_key),
    };
    let made = make_stream(shared, request, Place::Topic).await;
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
