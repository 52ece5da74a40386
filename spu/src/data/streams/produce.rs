//! A produced batch through a chain, before it is appended.
//!
//! Modules that go by what they have seen (aggregates, and those that look back) must have seen what
//! the log has. So a chain of such is ahead of the log from a batch's transformation until the log
//! has taken what came of it, and one that stays ahead is not used again.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::{Batch, BatchError};
use thalweg_smartengine::{
    AccumulatorsByKey, Chain, ChainError, ChainOutput, dense_batch, emptied_batch,
};
use thalweg_storage::{Log, ProducerSequences};
use thalweg_types::{Follows, NO_SEQUENCE, Offset};
use thalweg_wire::{
    ACCUMULATORS_NEEDED, FailedRecords, KafkaError, MODULE_REFUSED, STREAM_FAILED, StreamFailure,
};

use super::failures::Failures;
use super::look_back::{LookBackError, LookingBack};
use super::open::on_guest_thread;
use super::restore::check_bounds;
use super::{PartitionKey, Position, Restored, StandingChain, Stream, failure_of};
use crate::data::connection::Shared;
use crate::data::dead_letters::{DeadLetters, Undelivered};
use crate::data::refusal::Refusal;
use crate::metrics::Metered;
use crate::metrics::Place;

/// What a chain made of a produced batch.
#[derive(Debug)]
pub(in crate::data) struct Transformed {
    /// The batches to append in its place: where nothing passed one without records, if the producer is
    /// idempotent, and nothing otherwise.
    pub(in crate::data) batches: Bytes,
    /// How the producer counted what it sent, where it is idempotent.
    pub(in crate::data) sequences: Option<ProducerSequences>,
    /// What an aggregate has come to with it: by key, what it changed.
    pub(in crate::data) accumulated: Restored,
    /// Whether the log says better what an aggregate has come to.
    pub(in crate::data) forgets: bool,
    /// Records that the chain left out.
    failures: Failures,
}

/// Why a produced batch did not come through its chain.
#[derive(Debug)]
pub(in crate::data) struct NotTransformed {
    pub(in crate::data) refusal: Refusal,
    /// The SmartModule that is to blame.
    pub(in crate::data) failure: Option<Box<StreamFailure>>,
}

impl From<Refusal> for NotTransformed {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            failure: None,
        }
    }
}

impl From<StreamFailure> for NotTransformed {
    fn from(failure: StreamFailure) -> Self {
        Self {
            refusal: Refusal::new(KafkaError::Unknown(STREAM_FAILED), failure.to_string()),
            failure: Some(Box::new(failure)),
        }
    }
}

impl From<ChainError> for NotTransformed {
    fn from(error: ChainError) -> Self {
        failure_of(&error).into()
    }
}

impl From<BatchError> for NotTransformed {
    fn from(error: BatchError) -> Self {
        ChainError::from(error).into()
    }
}

impl Transformed {
    /// Waits until the dead letters are acknowledged, and gives what was left out. The caller holds
    /// no memory of the streams' budget meanwhile: the dead letters may need some of it.
    pub(in crate::data) async fn deliver(
        &mut self,
        dead_letters: &DeadLetters,
    ) -> Result<Vec<FailedRecords>, NotTransformed> {
        let failures = std::mem::take(&mut self.failures);
        failures
            .deliver(dead_letters)
            .await
            .map_err(|undelivered| match undelivered {
                // Clients retry upon this one.
                Undelivered::NotNow { .. } => {
                    Refusal::new(KafkaError::KafkaStorageError, undelivered.to_string()).into()
                }
                Undelivered::Never { .. } => StreamFailure {
                    step: String::new(),
                    offset: None,
                    key: None,
                    message: undelivered.to_string(),
                }
                .into(),
            })
    }
}

/// What a chain before the log goes on from, where it is opened.
#[derive(Debug)]
pub(in crate::data) struct Opening {
    /// The partition's log, for look-backs.
    pub(in crate::data) log: Arc<Log>,
    pub(in crate::data) restored: Restored,
}

impl Stream {
    /// Whether its modules go by what they have seen, so that what they have seen must be what the
    /// log has.
    pub(in crate::data) fn is_stateful(&self) -> bool {
        let mut steps = self.steps.iter();
        self.has_aggregate || steps.any(|step| step.module.looks_back())
    }

    /// What its modules are called, in order.
    pub(in crate::data) fn step_names(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().map(|step| step.name.as_str())
    }

    /// Whether an aggregate is among its modules.
    pub(in crate::data) fn has_aggregate(&self) -> bool {
        self.has_aggregate
    }

    /// Whether its aggregate keeps an accumulator for each key.
    pub(in crate::data) fn is_by_key(&self) -> bool {
        self.is_by_key
    }

    /// Sees to it that the partition's chain stands where its producer goes on: with what it brought
    /// of an aggregate, or where the last batch left it.
    pub(in crate::data) async fn ready(
        self: &Arc<Self>,
        shared: &Shared,
        key: &PartitionKey,
        opening: Opening,
    ) -> Result<(), NotTransformed> {
        if !self.is_stateful() {
            return Ok(());
        }
        let is_anew = self.has_aggregate && opening.restored != Restored::Nothing;
        if is_anew && self.is_by_key != matches!(opening.restored, Restored::ByKey(_)) {
            let message = "the stream's aggregate goes on with accumulators by key, or with one, as the stream was opened";
            return Err(Refusal::new(KafkaError::Unknown(MODULE_REFUSED), message).into());
        }
        if !is_anew && self.stands(key) {
            return Ok(());
        }
        if !is_anew && self.has_aggregate && self.is_lost(key) {
            let message = "the stream's aggregate stands nowhere: produce again with what it had come to after the last batch that was acknowledged";
            let error = KafkaError::Unknown(ACCUMULATORS_NEEDED);
            return Err(Refusal::new(error, message).into());
        }
        self.begin(shared, key, opening).await
    }

    /// Runs `job` where its modules run, in its turn.
    pub(in crate::data) async fn on_its_threads<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        on_guest_thread(&self.lane, job).await
    }

    /// Whether the partition's chain has seen what the log has, and nothing else.
    pub(in crate::data) fn stands(&self, key: &PartitionKey) -> bool {
        let chains = self.chains();
        let standing = chains.get(key);
        standing.is_some_and(|standing| standing.chain.is_some() && !standing.is_ahead)
    }

    /// Whether the partition's chain was lost, by a failure or with a batch that the log did not
    /// take.
    fn is_lost(&self, key: &PartitionKey) -> bool {
        self.chains().contains_key(key) && !self.stands(key)
    }

    /// Notes that the log has what came of the partition's last batch.
    pub(in crate::data) fn settle(&self, key: &PartitionKey) {
        if let Some(standing) = self.chains().get_mut(key) {
            standing.is_ahead = false;
        }
    }

    /// Opens the partition's chain, and shows it what its steps look back at: what the log holds
    /// now, committed or not, since that is what the batches to come are appended to.
    pub(in crate::data) async fn begin(
        self: &Arc<Self>,
        shared: &Shared,
        key: &PartitionKey,
        opening: Opening,
    ) -> Result<(), NotTransformed> {
        self.check_topic(&key.0)?;
        drop(self.take(key)?);
        let begun = self.try_begin(shared, opening).await;
        let standing = StandingChain::nowhere(Position::at(Offset::ZERO));
        match begun {
            Ok(chain) => {
                let chain = Some(chain);
                self.put(key.clone(), StandingChain { chain, ..standing });
                Ok(())
            }
            Err(not) => {
                self.put(key.clone(), standing);
                Err(not)
            }
        }
    }

    async fn try_begin(
        self: &Arc<Self>,
        shared: &Shared,
        opening: Opening,
    ) -> Result<Metered, NotTransformed> {
        let Opening { log, restored } = opening;
        let now_ms = shared.context.clock.now_ms();
        let stream = Arc::clone(self);
        let of = Arc::clone(&log);
        let opened = on_guest_thread(&self.lane, move || {
            let chain = stream.open_chain(restored)?;
            // Batches that are queued count as held.
            let looking_back = match chain.chain.wants_look_back().is_empty() {
                true => None,
                false => LookingBack::of(&chain.chain, of.write_out(), now_ms),
            };
            Ok::<_, ChainError>((chain, looking_back))
        });
        let (mut chain, mut looking_back) = opened.await??;
        while let Some(mut left) = looking_back {
            let log = Arc::clone(&log);
            let looked;
            (chain, left, looked) = on_guest_thread(&self.lane, move || {
                let looked = left.advance(&mut chain.chain, &log);
                chain.count();
                (chain, left, looked)
            })
            .await?;
            looking_back = match looked {
                Ok(true) => None,
                Ok(false) => Some(left),
                Err(LookBackError::Chain(error)) => return Err(error.into()),
                Err(LookBackError::Read(error)) => return Err(Refusal::from(error).into()),
            };
        }
        Ok(chain)
    }

    /// Puts one produced batch through the partition's chain: all of it, or an error. A stateful
    /// chain is ahead of the log then, until the batch is settled.
    pub(in crate::data) async fn transform(
        self: &Arc<Self>,
        key: PartitionKey,
        produced: Bytes,
    ) -> Result<Transformed, NotTransformed> {
        self.check_topic(&key.0)?;
        let standing = self.take(&key)?;
        let stream = Arc::clone(self);
        let of = key.clone();
        let (chain, transformed) = on_guest_thread(&self.lane, move || {
            let chain = standing.and_then(|standing| standing.chain);
            stream.transform_here(chain, &of, &produced)
        })
        .await?;
        let at = Position::at(Offset::ZERO);
        let standing = StandingChain {
            chain,
            is_ahead: true,
            ..StandingChain::nowhere(at)
        };
        self.put(key, standing);
        transformed
    }

    /// As [`Self::transform`], on this thread, with the chain given and given back.
    fn transform_here(
        &self,
        chain: Option<Metered>,
        key: &PartitionKey,
        produced: &Bytes,
    ) -> (Option<Metered>, Result<Transformed, NotTransformed>) {
        let chain = chain.map_or_else(|| self.open_chain(Restored::Nothing), Ok);
        let mut chain = match chain {
            Ok(chain) => chain,
            Err(error) => return (None, Err(error.into())),
        };
        let passed = self.pass_whole(&mut chain.chain, key, produced);
        chain.count();
        match passed {
            Ok(transformed) => (Some(chain), Ok(transformed)),
            Err(not) => (None, Err(not)),
        }
    }

    fn pass_whole(
        &self,
        chain: &mut Chain,
        key: &PartitionKey,
        produced: &Bytes,
    ) -> Result<Transformed, NotTransformed> {
        let batch = Batch::parse(produced)?;
        let header = *batch.header();
        let codec = header.codec()?;
        let mut transformed = Transformed {
            batches: Bytes::new(),
            sequences: sequences_of(batch),
            accumulated: Restored::Nothing,
            forgets: false,
            failures: Failures::default(),
        };
        let mut batches = Vec::new();
        let mut parts = 0;
        let mut from = header.base_offset;
        while from < header.next_offset() {
            let mut output = chain.process_produced(batch, from)?;
            if output.is_unchanged {
                transformed.batches = produced.clone();
                return Ok(transformed);
            }
            if output.next_offset <= from {
                return Err(bad_output(format!("no progress at record {from}")).into());
            }
            from = output.next_offset;
            if let Some(dense) = dense_batch(&output, codec)? {
                batches.extend_from_slice(&dense);
                parts += 1;
            }
            if self.place == Place::Topic {
                transformed.forgets |= self.check_kept(&output)?;
            }
            let failed = std::mem::take(&mut output.failed);
            transformed
                .accumulated
                .extend(Restored::of_output(self.is_by_key, output));
            transformed.failures.take(self, key, failed, false);
        }
        if parts > 1 && transformed.sequences.is_some() {
            // The producer's count stands for one batch, and the log takes it with one batch only.
            let reason = "what came of the batch does not fit one batch, send smaller batches";
            return Err(bad_output(reason.to_owned()).into());
        }
        if parts == 0 && transformed.sequences.is_some() {
            batches = emptied_batch(&header);
        }
        let (keys, bytes) = chain.accumulators_size();
        check_bounds(keys, bytes)?;
        transformed.batches = Bytes::from(batches);
        Ok(transformed)
    }

    /// Sees to it that the log would give back what an aggregate has come to. Whether it gave a null:
    /// then what the log says, that there is none, is to be taken from there.
    fn check_kept(&self, output: &ChainOutput) -> Result<bool, ChainError> {
        let Some(batch) = output.records.as_ref().filter(|_| self.has_aggregate) else {
            return Ok(false);
        };
        let mut forgets = false;
        let mut kept = AccumulatorsByKey::new();
        for record in &Batch::parse(batch)?.records(0)? {
            let record = record?;
            forgets |= record.value.is_none();
            if self.is_by_key {
                let value = record.value.unwrap_or_default().to_vec();
                kept.insert(record.key.map(<[u8]>::to_vec), value);
            }
        }
        if kept != output.accumulators {
            let last = self.steps.last();
            return Err(ChainError::BadOutput {
                step: last.map_or_else(String::new, |step| step.name.clone()),
                reason: "it gave the accumulator of one key under another: by key, the log of a topic finds them by their records' keys".to_owned(),
            });
        }
        Ok(forgets)
    }
}

/// How an idempotent producer counted what it sent; `None` for any other.
pub(in crate::data) fn sequences_of(batch: Batch<'_>) -> Option<ProducerSequences> {
    let header = batch.header();
    let last_sequence = header.last_sequence()?;
    (header.base_sequence != NO_SEQUENCE).then_some(ProducerSequences {
        follows: Follows::Anything,
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        first_sequence: header.base_sequence,
        last_sequence,
    })
}

fn bad_output(reason: String) -> ChainError {
    ChainError::BadOutput {
        step: String::new(),
        reason,
    }
}
