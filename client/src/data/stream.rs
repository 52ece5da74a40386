//! Opening a stream: binding a chain of SmartModules to a connection.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_runtime::{Backoff, BackoffOptions};
use thalweg_types::{ErrorCode, TopicName};
use thalweg_wire::{
    ApiRequest, CloseStreamRequest, ModuleSource, OpenStreamRequest, StreamId, StreamPurpose,
    StreamStep, error_code_of, kafka_error,
};
use tokio::time::Instant;

use super::{Connection, RequestError, kafka_name};
use crate::smartmodule::{SmartModuleInvocation, SmartModuleSource};

/// How large the modules of a stream may be together. An SPU hangs up on a request that is larger
/// than it takes (100 MiB unless told otherwise), and its user would read of a lost connection.
const MODULES_BYTES_MAX: usize = 64 << 20;

/// Why a stream is not open.
#[derive(Debug)]
pub(crate) enum OpenStreamError {
    /// The SPU refused the chain, and would again, or had no time for it all the while. Its words.
    Refused(String),
    Request(RequestError),
}

/// A stream to open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewStream<'a> {
    pub(crate) purpose: StreamPurpose,
    pub(crate) topic: &'a TopicName,
    pub(crate) modules: &'a [SmartModuleInvocation],
    pub(crate) accumulator: Option<&'a Bytes>,
    pub(crate) is_by_key: bool,
}

/// Binds `stream` to `connection`. An SPU that would ignore a part of it is refused; one that can't
/// open it now, as too many SmartModules wait to be compiled, is asked again for as long as `wait`.
pub(crate) async fn open_stream(
    connection: &Arc<Connection>,
    stream: NewStream<'_>,
    wait: Duration,
) -> Result<StreamId, OpenStreamError> {
    check_size(stream.modules)?;
    let request = OpenStreamRequest {
        purpose: stream.purpose,
        steps: stream.modules.iter().map(step).collect(),
        accumulator: stream.accumulator.cloned(),
        topic: Some(stream.topic.clone()),
        is_by_key: stream.is_by_key,
    };
    let version = connection.version(OpenStreamRequest::KEY);
    if version.map_err(OpenStreamError::Request)? < request.version_needed() {
        return Err(OpenStreamError::Refused(format!(
            "the SPU at `{}` is too old for error policies, look-back and aggregation by key: update it",
            connection.address()
        )));
    }
    let patience_ends = Instant::now() + wait;
    let mut backoff = Backoff::new(BackoffOptions::default());
    loop {
        let answer = connection.call(&request, wait).await;
        let answer = answer.map_err(OpenStreamError::Request)?;
        let Some(error) = kafka_error(answer.error_code) else {
            return Ok(answer.stream_id);
        };
        if error_code_of(error) != ErrorCode::Unavailable || Instant::now() >= patience_ends {
            let message = answer.error_message;
            let message = message.unwrap_or_else(|| kafka_name(answer.error_code));
            return Err(OpenStreamError::Refused(message));
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

fn check_size(modules: &[SmartModuleInvocation]) -> Result<(), OpenStreamError> {
    let mut bytes = 0;
    for module in modules {
        if let SmartModuleSource::Wasm(wasm) = &module.source {
            bytes += wasm.len();
        }
        if bytes > MODULES_BYTES_MAX {
            return Err(OpenStreamError::Refused(format!(
                "with SmartModule `{}` the stream has {bytes} bytes of modules, more than the {MODULES_BYTES_MAX} allowed: build with `--profile smartmodule` or strip debug sections",
                module.name
            )));
        }
    }
    Ok(())
}

/// Ends a stream. That it can't be ended means that the connection has, and the stream with it.
pub(crate) async fn close_stream(connection: &Arc<Connection>, stream: StreamId, wait: Duration) {
    let request = CloseStreamRequest { stream_id: stream };
    let _ = connection.call(&request, wait).await;
}

fn step(module: &SmartModuleInvocation) -> StreamStep {
    StreamStep {
        name: module.name.clone(),
        source: match &module.source {
            SmartModuleSource::Wasm(wasm) => ModuleSource::Wasm(wasm.clone()),
            SmartModuleSource::Named(name) => ModuleSource::Registered(name.clone()),
        },
        params: module.params.clone(),
        on_error: module.on_error.clone(),
        look_back: module.look_back,
    }
}
