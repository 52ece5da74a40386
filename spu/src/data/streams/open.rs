//! OpenStream: loads the modules and tries the chain once.

use std::collections::HashMap;
use std::sync::Mutex;

use thalweg_smartengine::{CallLimits, Lane, SmartEngine, SmartModuleKind, Step};
use thalweg_wire::{
    KafkaError, MODULE_REFUSED, ModuleSource, OpenStreamRequest, OpenStreamResponse, StreamId,
    StreamPurpose, StreamStep,
};

use super::{Stream, Streams, registered};
use crate::data::connection::Shared;
use crate::data::refusal::{Refusal, chain};

/// How many SmartModules one chain may have.
const STEPS_MAX: usize = 32;
/// How many bytes of modules the streams of one connection may have together, in modules of the
/// largest size.
const MODULES_MAX: u64 = 4;

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
        if request.version_needed() > 0 {
            return Err(refused(
                "this version has no error policies, look-back or aggregation by key yet: leave them out",
            ));
        }
        request.steps = registered::with_bytes(shared, request.steps).await?;
        let options = &shared.context.options;
        let module_bytes_max =
            usize::try_from(options.smartmodule_bytes_max.saturating_mul(MODULES_MAX))
                .unwrap_or(usize::MAX);
        let limits = CallLimits {
            deadline: options.smartmodule_deadline,
            memory_bytes: options.smartmodule_memory_bytes,
            output_bytes: usize::try_from(options.smartmodule_output_bytes).unwrap_or(usize::MAX),
            ..CallLimits::default()
        };
        let engine = shared.context.engine.clone();
        let lane = engine.lane();
        let stream =
            on_guest_thread(&lane.clone(), move || load(engine, lane, limits, request)).await??;
        self.insert(stream, module_bytes_max)
    }
}

/// Runs `job` on the engine's threads and waits for what it gives.
pub(super) async fn on_guest_thread<T: Send + 'static>(
    lane: &Lane,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let (done, result) = tokio::sync::oneshot::channel();
    let job = Box::new(move || {
        // Whoever hung up meanwhile needs no result.
        let _ = done.send(job());
    });
    lane.run(job).map_err(|busy| {
        // Clients retry upon this one.
        Refusal::new(KafkaError::KafkaStorageError, busy.to_string())
    })?;
    result.await.map_err(|_| {
        let message = "the SmartModule's host failed, which is a bug";
        Refusal::new(KafkaError::UnknownServerError, message)
    })
}

fn load(
    engine: SmartEngine,
    lane: Lane,
    limits: CallLimits,
    request: OpenStreamRequest,
) -> Result<Stream, Refusal> {
    let mut steps = Vec::with_capacity(request.steps.len());
    let mut module_bytes = 0;
    for step in request.steps {
        module_bytes += match &step.source {
            ModuleSource::Wasm(wasm) => wasm.len(),
            ModuleSource::Registered(_) => 0,
        };
        steps.push(load_step(&engine, step)?);
    }
    let has_aggregate = steps
        .iter()
        .any(|step| step.module.kind() == SmartModuleKind::Aggregate);
    if has_aggregate && request.purpose == StreamPurpose::Produce {
        return Err(refused(
            "an aggregate can't stand before the log: a retried batch would count twice; attach it to consume instead",
        ));
    }
    let stream = Stream {
        purpose: request.purpose,
        engine,
        lane,
        steps,
        has_aggregate,
        accumulator: request.accumulator.map(|bytes| bytes.to_vec()),
        limits,
        module_bytes,
        chains: Mutex::new(HashMap::new()),
    };
    if stream.accumulator.is_some() && !has_aggregate {
        return Err(refused(
            "an accumulator was given, but no SmartModule of the chain is an aggregate",
        ));
    }
    // Wrong parameters show here, and not with the first record.
    stream
        .open_chain(None)
        .map_err(|error| refused(chain(&error)))?;
    Ok(stream)
}

fn load_step(engine: &SmartEngine, step: StreamStep) -> Result<Step, Refusal> {
    let wasm = match step.source {
        ModuleSource::Wasm(wasm) => wasm,
        ModuleSource::Registered(name) => {
            unreachable!("the bytes of `{name}` were put in its place")
        }
    };
    let module = engine
        .load(&wasm)
        .map_err(|error| refused(format!("SmartModule `{}`: {}", step.name, chain(&error))))?;
    Ok(Step {
        params: step.params,
        ..Step::new(module, step.name)
    })
}

pub(super) fn refused(message: impl Into<String>) -> Refusal {
    Refusal::new(KafkaError::Unknown(MODULE_REFUSED), message)
}
