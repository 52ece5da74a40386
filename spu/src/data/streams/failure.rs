//! A chain's error as the client is told of it.

use bytes::Bytes;
use thalweg_smartengine::{ChainError, GivenRecords};
use thalweg_wire::StreamFailure;

use crate::data::refusal::chain;

pub(in crate::data) fn failure_of(error: &ChainError) -> StreamFailure {
    let of_step = |step: &str, message: String| StreamFailure {
        step: step.to_owned(),
        offset: None,
        key: None,
        message,
    };
    match error {
        ChainError::Guest {
            step,
            offset,
            key,
            message,
        } => StreamFailure {
            step: step.clone(),
            offset: Some(*offset),
            key: key.clone().map(Bytes::from),
            message: message.clone(),
        },
        ChainError::Init { step, message } => {
            of_step(step, format!("it refused to start: {message}"))
        }
        ChainError::Trapped {
            step,
            record,
            message,
        } => StreamFailure {
            offset: record.as_ref().map(|record| record.offset),
            key: record.as_ref().and_then(|record| record.key.clone()).map(Bytes::from),
            ..of_step(step, format!("it crashed: {message}"))
        },
        ChainError::DeadlineExceeded {
            step,
            deadline_ms,
            given,
        } => over(
            given.as_ref(),
            of_step(
                step,
                format!("it ran for more than {deadline_ms} ms in one call and was stopped"),
            ),
        ),
        ChainError::Starved {
            step,
            waited_ms,
            deadline_ms,
            given,
        } => over(
            given.as_ref(),
            of_step(
                step,
                format!(
                    "it was stopped after {waited_ms} ms, in which others left it less of the processor than the {deadline_ms} ms that a call may run: try again when the SPU has less to do"
                ),
            ),
        ),
        ChainError::MemoryExceeded {
            step,
            limit_bytes,
            given,
        } => over(
            given.as_ref(),
            of_step(
                step,
                format!("it needs more than the {limit_bytes} bytes of memory allowed"),
            ),
        ),
        ChainError::MemoryUsedUp { step } => of_step(
            step,
            "no memory is left for it: other streams with SmartModules use all of it, try again once some have ended".to_owned(),
        ),
        ChainError::OutputExceeded {
            step,
            limit_bytes,
            given,
        } => over(
            given.as_ref(),
            of_step(
                step,
                format!(
                    "it made more than the {limit_bytes} bytes of output allowed for one batch"
                ),
            ),
        ),
        ChainError::LookBack {
            step,
            offset,
            message,
        } => StreamFailure {
            step: step.clone(),
            offset: Some(*offset),
            key: None,
            message: format!("it failed to look back: {message}"),
        },
        ChainError::TooManyCrashes {
            step,
            offset,
            crashes,
            message,
        } => StreamFailure {
            step: step.clone(),
            offset: Some(*offset),
            key: None,
            message: format!("it crashed {crashes} times within one batch, at last: {message}"),
        },
        ChainError::BatchDeadlineExceeded {
            step,
            offset,
            limit_ms,
        } => StreamFailure {
            step: step.clone(),
            offset: Some(*offset),
            key: None,
            message: format!("it ran for more than {limit_ms} ms over one batch and was stopped"),
        },
        ChainError::BadOutput { step, reason } => {
            of_step(step, format!("it answered garbage: {reason}"))
        }
        other => of_step("", chain(other)),
    }
}

/// A failure of a call that was given these records: the one to blame, or else which they are.
fn over(given: Option<&GivenRecords>, failure: StreamFailure) -> StreamFailure {
    match given {
        None => failure,
        Some(one) if one.first == one.last => StreamFailure {
            offset: Some(one.first),
            key: one.first_key.clone().map(Bytes::from),
            ..failure
        },
        Some(several) => StreamFailure {
            message: format!("{}, over {several}", failure.message),
            ..failure
        },
    }
}
