//! OpenStream: loads the modules and tries the chain once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use thalweg_smartengine::{CallLimits, Lane, LoadError, SmartEngine, SmartModuleKind};
use thalweg_types::{OnError, TopicName};
use thalweg_wire::{
    KafkaError, MODULE_REFUSED, ModuleSource, OpenStreamRequest, OpenStreamResponse, StreamId,
    StreamPurpose, StreamStep,
};

use super::{Restored, Stream, Streams, registered};
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain};
use crate::guest_thread::{self, NotRun};
use crate::metrics::{Metrics, Place};
use crate::modules::{LoadedStep, NewStep};

/// How many SmartModules one chain may have.
const STEPS_MAX: usize = 32;
/// How many bytes of modules the streams of one connection may have together, in modules of the
/// largest size.
const MODULES_MAX: u64 = 4;
/// How long a dead-letter topic that was just created may take to be heard of here.
const TOPIC_WAIT: Duration = Duration::from_secs(2);

impl Streams {
    /// Binds a chain to the connection.
    pub(in crate::data) async fn open(
        &self,
        shared: &Shared,
        request: OpenStreamRequest,
    ) -> OpenStreamResponse {
        match self.try_open(shared, request).await {
            Ok(stream_id) => OpenStreamResponse {
                error_code: 0,
                error_message: None,
                stream_id,
            },
            Err(refusal) => OpenStreamResponse {
                error_code: refusal.code(),
                error_message: Some(refusal.message),
                stream_id: StreamId(-1),
            },
        }
    }

    async fn try_open(
        &self,
        shared: &Shared,
        mut request: OpenStreamRequest,
    ) -> Result<StreamId, Refusal> {
        if request.steps.is_empty() || request.steps.len() > STEPS_MAX {
            return Err(refused(format!(
                "a chain has 1 to {STEPS_MAX} SmartModules, not {}",
                request.steps.len()
            )));
        }
        check_dead_letters(shared, &request).await?;
        request.steps = registered::with_bytes(shared, request.steps).await?;
        let options = &shared.context.options;
        let module_bytes_max =
            usize::try_from(options.smartmodule_bytes_max.saturating_mul(MODULES_MAX))
                .unwrap_or(usize::MAX);
        let place = match request.purpose {
            StreamPurpose::Consume => Place::Consume,
            StreamPurpose::Produce => Place::Produce,
        };
        let stream = make_stream(shared, request, place).await?;
        self.insert(stream, module_bytes_max)
    }
}

/// A stream with bytes for all of its modules, which is tried once. What an aggregate of a topic's
/// own chain gives is what its log keeps.
pub(in crate::data) async fn make_stream(
    shared: &Shared,
    request: OpenStreamRequest,
    place: Place,
) -> Result<Stream, Refusal> {
    let options = &shared.context.options;
    let limits = options.call_limits();
    let engine = shared.context.engine.clone();
    let lane = engine.lane();
    let opened_ms = shared.context.clock.now_ms();
    let host = Host {
        place,
        engine,
        lane: lane.clone(),
        limits,
        metrics: Arc::clone(&shared.context.metrics),
    };
    let loaded = on_guest_thread(&lane, move || load(host, opened_ms, request)).await?;
    let stream = loaded?;
    // In a turn of its own, since by now the queue knows which modules it is to run.
    on_guest_thread(&lane, move || try_once(stream)).await?
}

/// Runs `job` on the engine's threads and waits for what it gives.
pub(super) async fn on_guest_thread<T: Send + 'static>(
    lane: &Lane,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    guest_thread::run(lane, job)
        .await
        .map_err(|error| match error {
            NotRun::Busy(_) => not_now(error.to_string()),
            NotRun::HostFailed => Refusal::new(KafkaError::UnknownServerError, error.to_string()),
        })
}

/// What a stream's chains run on.
struct Host {
    place: Place,
    engine: SmartEngine,
    lane: Lane,
    limits: CallLimits,
    metrics: Arc<Metrics>,
}

fn load(host: Host, opened_ms: i64, request: OpenStreamRequest) -> Result<Stream, Refusal> {
    let mut steps = Vec::with_capacity(request.steps.len());
    let mut extras = Vec::with_capacity(request.steps.len());
    let mut module_bytes = 0;
    for step in request.steps {
        module_bytes += match &step.source {
            ModuleSource::Wasm(wasm) => wasm.len(),
            ModuleSource::Registered(_) => 0,
        };
        let LoadedStep { step, extra } = load_step(&host.engine, step)?;
        steps.push(step);
        extras.push(extra);
    }
    host.lane.runs(steps.iter().map(|step| &*step.module));
    let has_aggregate = steps
        .iter()
        .any(|step| step.module.kind() == SmartModuleKind::Aggregate);
    let kinds: Vec<_> = steps.iter().map(|step| step.module.kind()).collect();
    if host.place == Place::Topic
        && let Some((_, before)) = kinds.split_last()
        && let Some(index) = before
            .iter()
            .position(|kind| *kind == SmartModuleKind::Aggregate)
    {
        return Err(refused(format!(
            "SmartModule `{}` is an aggregate, which must be the last step on a topic: its log keeps what the aggregate comes to",
            steps[index].name
        )));
    }
    let stream = Stream {
        purpose: request.purpose,
        engine: host.engine,
        metrics: host.metrics,
        lane: host.lane,
        steps,
        extras,
        topic: request.topic,
        has_aggregate,
        accumulator: request.accumulator.map(|bytes| bytes.to_vec()),
        is_by_key: request.is_by_key,
        place: host.place,
        opened_ms,
        limits: host.limits,
        module_bytes,
        chains: Mutex::new(HashMap::new()),
    };
    if (stream.accumulator.is_some() || stream.is_by_key) && !has_aggregate {
        return Err(refused(
            "something to accumulate was given, but no SmartModule of the chain is an aggregate",
        ));
    }
    Ok(stream)
}

/// Wrong parameters show here, and not with the first record.
fn try_once(stream: Stream) -> Result<Stream, Refusal> {
    let tried = stream.open_chain(Restored::Nothing);
    tried.map_err(|error| refused(chain(&error)))?;
    Ok(stream)
}

/// Sees to it that dead letters have somewhere to go, and that nobody reads them into themselves.
async fn check_dead_letters(shared: &Shared, request: &OpenStreamRequest) -> Result<(), Refusal> {
    for step in &request.steps {
        let OnError::DeadLetter(topic) = &step.on_error else {
            continue;
        };
        let Some(source) = &request.topic else {
            return Err(refused(format!(
                "SmartModule `{}` has a dead-letter topic: name the stream's own topic, too",
                step.name
            )));
        };
        if topic == source || is_internal(topic) {
            return Err(refused(format!(
                "records of `{source}` that SmartModule `{}` fails on can't go to `{topic}`: choose another dead-letter topic",
                step.name
            )));
        }
        let view = &shared.context.view;
        let heard_of = view.wait_for(|view| view.topic(topic).is_some());
        if tokio::time::timeout(TOPIC_WAIT, heard_of).await.is_err() {
            return Err(refused(format!(
                "the dead-letter topic `{topic}` of SmartModule `{}` does not exist: create it with `thalweg topic create {topic}`",
                step.name
            )));
        }
    }
    Ok(())
}

/// Whether a topic is the cluster's own.
fn is_internal(topic: &TopicName) -> bool {
    topic.as_str().starts_with("__")
}

/// Clients, Kafka's too, ask again upon this one.
fn not_now(message: String) -> Refusal {
    Refusal::new(KafkaError::KafkaStorageError, message)
}

fn load_step(engine: &SmartEngine, step: StreamStep) -> Result<LoadedStep, Refusal> {
    let wasm = match step.source {
        ModuleSource::Wasm(wasm) => wasm,
        ModuleSource::Registered(name) => {
            unreachable!("the bytes of `{name}` were put in its place")
        }
    };
    let new = NewStep {
        name: step.name,
        wasm,
        params: step.params,
        on_error: step.on_error,
        look_back: step.look_back,
    };
    new.load(engine).map_err(|error| {
        let message = chain(&error);
        match error.source {
            LoadError::Busy => not_now(message),
            _ => refused(message),
        }
    })
}

pub(super) fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(KafkaError::Unknown(MODULE_REFUSED), message)
}
