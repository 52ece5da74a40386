//! The streams of one connection: chains of SmartModules that fetches and produces name.
//!
//! A stream has one chain for every partition that it is used on, so that no state leaks from
//! partition to partition. A chain of a consume stream stands at an offset; a fetch from there
//! goes on, and a fetch from anywhere else opens the chain anew.

mod consume;
mod failure;
mod open;
mod produce;
mod registered;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use thalweg_smartengine::{
    Accumulation, CallLimits, Chain, ChainError, ChainOptions, Lane, SmartEngine, Step,
};
use thalweg_types::{Offset, PartitionIndex, TopicName};
use thalweg_wire::{
    CloseStreamRequest, CloseStreamResponse, KafkaError, STREAM_LIMIT, StreamId, StreamPurpose,
    UNKNOWN_STREAM,
};

use super::refusal::Refusal;
pub(super) use consume::{Progress, Work};
pub(super) use failure::failure_of;

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
    /// Its place in the queue for the guest threads.
    lane: Lane,
    steps: Vec<Step>,
    has_aggregate: bool,
    accumulator: Option<Vec<u8>>,
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
    /// An aggregate's accumulator there; absent for what the stream was opened with.
    pub(super) accumulator: Option<Bytes>,
}

/// A chain between two uses.
struct StandingChain {
    /// Absent after a failure: it is opened anew where it stood.
    chain: Option<Chain>,
    at: Position,
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
    /// Opens a chain that starts with `accumulator`, or with the stream's own. Runs guest code.
    fn open_chain(&self, accumulator: Option<&[u8]>) -> Result<Chain, ChainError> {
        let initial = if self.has_aggregate {
            accumulator
                .map(<[u8]>::to_vec)
                .or_else(|| self.accumulator.clone())
        } else {
            None
        };
        self.engine.open_chain(ChainOptions {
            accumulation: Accumulation::PerPartition { initial },
            limits: self.limits,
            ..ChainOptions::new(self.steps.clone())
        })
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
