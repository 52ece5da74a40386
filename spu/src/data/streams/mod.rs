//! The streams of one connection: chains of SmartModules that fetches and produces name.
//!
//! A stream has one chain for every partition that it is used on, so that no state leaks from
//! partition to partition. A chain of a consume stream stands at an offset; a fetch from there
//! goes on, and a fetch from anywhere else opens the chain anew.

mod consume;
mod failure;
mod failures;
mod look_back;
mod open;
mod pieces;
mod produce;
mod registered;
mod restore;
mod restored;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_smartengine::{
    Accumulation, CallLimits, ChainError, ChainOptions, HostServices, Lane, SmartEngine,
    SmartModuleKind, Step,
};
use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::{
    CloseStreamRequest, CloseStreamResponse, KafkaError, KeyedAccumulators, MODULE_REFUSED,
    STREAM_LIMIT, StreamId, StreamPurpose, UNKNOWN_STREAM,
};

use super::refusal::Refusal;
use crate::metrics::{Metered, Metrics, Place};
use crate::modules::StepExtra;
pub(super) use consume::{Progress, Work};
pub(super) use failure::failure_of;
pub(super) use failures::add_counts;
use look_back::LookingBack;
pub(super) use open::make_stream;
pub(super) use produce::{NotTransformed, Opening, Transformed, sequences_of};
pub(super) use restore::Restoring;
pub(super) use restored::Restored;

/// How many streams one connection may have open.
const STREAMS_MAX: usize = 64;
/// How many partitions one stream may be used on: each has instances of its own.
const PARTITIONS_MAX: usize = 256;

/// The streams of one connection.
#[derive(Default)]
pub(super) struct Streams {
    next_id: AtomicI32,
    open: Mutex<HashMap<StreamId, Arc<Stream>>>,
}

/// One stream.
pub(super) struct Stream {
    purpose: StreamPurpose,
    engine: SmartEngine,
    metrics: Arc<Metrics>,
    /// Its place in the queue for the guest threads.
    lane: Lane,
    steps: Vec<Step>,
    /// What the engine has no use for, for each step.
    extras: Vec<StepExtra>,
    /// The only topic that it is for, where the client named one.
    topic: Option<TopicName>,
    has_aggregate: bool,
    /// What an aggregate begins with.
    accumulator: Option<Vec<u8>>,
    is_by_key: bool,
    /// Where it runs. What an aggregate of a topic's own chain gives is what its log keeps.
    place: Place,
    /// When it was opened, in milliseconds since 1970: what look-backs count from.
    opened_ms: i64,
    limits: CallLimits,
    /// Bytes of modules, for the connection's limit.
    module_bytes: usize,
    chains: Mutex<HashMap<PartitionKey, StandingChain>>,
}

/// Names a partition.
pub(super) type PartitionKey = (TopicName, PartitionIndex);

/// Where a chain stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    /// The next input offset.
    pub(super) offset: Offset,
    /// What an aggregate has come to there.
    pub(super) restored: Restored,
}

/// A chain between two uses.
struct StandingChain {
    /// Absent after a failure: it is opened anew where it stood.
    chain: Option<Metered>,
    /// What the chain is still to be shown of before the stream.
    looking_back: Option<LookingBack>,
    /// Before the log: whether it has seen a batch that the log may not have.
    is_ahead: bool,
    at: Position,
}

impl Position {
    fn at(offset: Offset) -> Self {
        Self {
            offset,
            restored: Restored::Nothing,
        }
    }
}

impl StandingChain {
    /// One that is to be opened at `at`.
    fn nowhere(at: Position) -> Self {
        Self {
            chain: None,
            looking_back: None,
            is_ahead: false,
            at,
        }
    }
}

impl Streams {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The open stream of that id, if it is for `purpose`.
    pub(super) fn get(&self, id: StreamId, purpose: StreamPurpose) -> Result<Arc<Stream>, Refusal> {
        match self.lock().get(&id) {
            Some(stream) if stream.purpose == purpose => Ok(Arc::clone(stream)),
            Some(_) => Err(Refusal::new(
                KafkaError::Unknown(UNKNOWN_STREAM),
                format!("stream {} was opened for another purpose", id.0),
            )),
            None => Err(unknown(id)),
        }
    }

    /// Ends a stream. What is in flight on it is still answered.
    pub(super) fn close(&self, request: &CloseStreamRequest) -> CloseStreamResponse {
        match self.lock().remove(&request.stream_id) {
            Some(_) => CloseStreamResponse {
                error_code: 0,
                error_message: None,
            },
            None => {
                let refusal = unknown(request.stream_id);
                CloseStreamResponse {
                    error_code: refusal.code(),
                    error_message: Some(refusal.message),
                }
            }
        }
    }

    fn insert(&self, stream: Stream, module_bytes_max: usize) -> Result<StreamId, Refusal> {
        let limit = |message: String| Refusal::new(KafkaError::Unknown(STREAM_LIMIT), message);
        let mut open = self.lock();
        if open.len() >= STREAMS_MAX {
            return Err(limit(format!(
                "the connection has {STREAMS_MAX} streams open, close one first"
            )));
        }
        let held: usize = open.values().map(|stream| stream.module_bytes).sum();
        if held + stream.module_bytes > module_bytes_max {
            return Err(limit(format!(
                "the connection's SmartModules would have more than {module_bytes_max} bytes, close a stream first"
            )));
        }
        let id = StreamId(self.next_id.fetch_add(1, Ordering::Relaxed));
        open.insert(id, Arc::new(stream));
        Ok(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<Stream>>> {
        self.open
            .lock()
            .expect("nobody panics while holding the streams")
    }
}

impl Stream {
    /// Whether more records may come out than went in.
    pub(super) fn may_add_records(&self) -> bool {
        self.steps
            .iter()
            .any(|step| step.module.kind() == SmartModuleKind::ArrayMap)
    }

    /// Opens a chain that goes on with `restored`, or with what the stream began with. Runs guest
    /// code.
    fn open_chain(&self, restored: Restored) -> Result<Metered, ChainError> {
        let accumulation = if self.is_by_key {
            let by_key = match restored {
                Restored::ByKey(by_key) => by_key,
                Restored::Nothing | Restored::Partition(_) => KeyedAccumulators::new(),
            };
            Accumulation::ByKey {
                initial: self.accumulator.clone().unwrap_or_default(),
                restored: by_key
                    .into_iter()
                    .map(|(key, value)| (key.map(|key| key.to_vec()), value.to_vec()))
                    .collect(),
            }
        } else {
            let restored = match restored {
                Restored::Partition(accumulator) => Some(accumulator.to_vec()),
                Restored::Nothing | Restored::ByKey(_) => None,
            };
            let initial = restored.or_else(|| self.accumulator.clone());
            Accumulation::PerPartition {
                initial: initial.filter(|_| self.has_aggregate),
            }
        };
        let chain = self.engine.open_chain(ChainOptions {
            key_values: None,
            steps: self.steps.clone(),
            accumulation,
            dedup: None,
            state_bytes_max: None,
            services: HostServices::default(),
            limits: self.limits,
        })?;
        let counters = self.metrics.smartmodules();
        let names = self.steps.iter().map(|step| step.name.as_str());
        let users = names.map(|name| counters.of(name, self.place)).collect();
        Ok(Metered::new(chain, users))
    }

    /// Sees to it that the stream is used on its own topic only.
    fn check_topic(&self, topic: &TopicName) -> Result<(), Refusal> {
        match &self.topic {
            Some(own) if own != topic => Err(Refusal::new(
                KafkaError::Unknown(MODULE_REFUSED),
                format!("the stream is of topic `{own}`: open another one for `{topic}`"),
            )),
            _ => Ok(()),
        }
    }

    /// Takes the partition's chain out, to be put back with [`Self::put`].
    fn take(&self, key: &PartitionKey) -> Result<Option<StandingChain>, Refusal> {
        let mut chains = self.chains();
        let standing = chains.remove(key);
        if standing.is_none() && chains.len() >= PARTITIONS_MAX {
            return Err(Refusal::new(
                KafkaError::Unknown(STREAM_LIMIT),
                format!("a stream serves {PARTITIONS_MAX} partitions at most, open another one"),
            ));
        }
        Ok(standing)
    }

    fn put(&self, key: PartitionKey, standing: StandingChain) {
        self.chains().insert(key, standing);
    }

    fn chains(&self) -> MutexGuard<'_, HashMap<PartitionKey, StandingChain>> {
        self.chains
            .lock()
            .expect("nobody panics while holding the chains")
    }
}

fn unknown(id: StreamId) -> Refusal {
    Refusal::new(
        KafkaError::Unknown(UNKNOWN_STREAM),
        format!("the connection has no stream {}, open one first", id.0),
    )
}
