//! An aggregate over windows: run once for each window of each key, and what the windows came to is given out when they
//! are over.

use std::borrow::Cow;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{Header, read_record, write_record};
use thalweg_types::LateRecords;

use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::key_groups::KeyGroups;
use crate::open_step::OpenStep;
use crate::records::nth;
use crate::step_pass::{Passed, StepPass};
use crate::step_run::{Accumulated, Passing, Stepped, cut};
use crate::windows::{Closing, LateRecord, Touch, WindowEntry, WindowPlan, Windows, key_in};
use crate::{ChainError, OnFailure, SmartModuleKind, WindowChanges};

/// The header that says when a window began, in milliseconds since 1970.
const START_HEADER: &[u8] = b"thalweg.window.start";
/// The header that says when it ended.
const END_HEADER: &[u8] = b"thalweg.window.end";

/// What an aggregate made of some records in its windows, kept while later steps may still cut it short.
pub(crate) struct WindowRun {
    names: Vec<Box<[u8]>>,
    /// What came of each of them.
    made: Vec<Passed>,
    touches: Vec<Touch>,
    closings: Vec<Closing>,
    late: Vec<LateRecord>,
    times: Vec<(i64, i64)>,
}

/// Runs an aggregate once for each window that the records of `input` belong to.
pub(crate) fn run_windowed<'a>(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    input: &Passing<'a>,
    windows: &mut Windows,
) -> Result<Stepped<'a>, ChainError> {
    let plan = windows.plan(&input.section, input.record_count, header)?;
    let mut failing = Vec::new();
    let mut stopped = stop_at_late(
        step,
        step_index,
        header,
        &plan,
        windows,
        input,
        &mut failing,
    )?;
    let WindowPlan {
        names,
        members,
        deltas,
        touches,
        closings,
        late,
        times,
    } = plan;
    let keys = names.iter().map(|name| Some(&**name)).collect();
    let groups = KeyGroups::put_together(&input.section, keys, &members, deltas);
    let mut pass = StepPass::new(step, step_index, header, &groups.section, false);
    let mut made: Vec<Passed> = Vec::with_capacity(groups.len());
    for group in 0..groups.len() {
        let end = stopped.as_ref().map_or(usize::MAX, |(index, _)| *index);
        let window = groups.window(group, end);
        let mut passed = pass.run(window, windows.accumulators.get(groups.key(group)))?;
        if let Some(failure) = passed.failure.take() {
            let place = passed.stopped_at.unwrap_or(window.start);
            stopped = Some((groups.input_index(place.record_count), failure));
        }
        failing.append(&mut passed.failing);
        made.push(passed);
    }
    let (stopped_at, failure) = match stopped {
        Some((index, failure)) => (Some(groups.delta(index)), Some(failure)),
        None => (None, None),
    };
    drop(groups);
    let run = WindowRun {
        names,
        made,
        touches,
        closings,
        late,
        times,
    };
    let output_bytes: usize = run.made.iter().map(|passed| passed.output.len()).sum();
    if output_bytes > step.limits.output_bytes {
        let limit = step.limits.output_bytes;
        return Err(step.error_of(crate::guest::Fault::Output(limit)));
    }
    let mut stepped = Stepped {
        passing: run.ended(header, windows, stopped_at.unwrap_or(i64::MAX))?,
        failing,
        stopped_at,
        failure,
        accumulated: None,
    };
    if stepped.failure.is_some() {
        cut(&mut stepped)?;
    }
    stepped.accumulated = Some(Accumulated::Windowed(run));
    Ok(stepped)
}

/// Where late records are failures: notes them, and gives the first where the step stops at it.
fn stop_at_late(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    plan: &WindowPlan,
    windows: &Windows,
    input: &Passing<'_>,
    failing: &mut Vec<Failing>,
) -> Result<Option<(usize, ChainError)>, ChainError> {
    if windows.spec().late == LateRecords::Drop {
        return Ok(None);
    }
    for late in &plan.late {
        let message = format!(
            "its time is {}, and its windows were given out, as others are of {}",
            late.timestamp_ms, late.time_ms
        );
        step.metrics.errors += 1;
        if step.on_failure() == OnFailure::Stop {
            let record = nth(&input.section, late.index).map_err(|_| malformed(late.index))?;
            let error = ChainError::Guest {
                step: step.name().to_owned(),
                offset: header.base_offset.plus(late.delta),
                key: record.key.map(<[u8]>::to_vec),
                message,
            };
            return Ok(Some((late.index, error)));
        }
        failing.push(Failing {
            step: step_index,
            offset_delta: late.delta,
            message,
        });
    }
    Ok(None)
}

impl WindowRun {
    /// A record for each window that was over before the offset delta `end`.
    fn ended<'a>(
        &self,
        header: &BatchHeader,
        windows: &Windows,
        end: i64,
    ) -> Result<Passing<'a>, ChainError> {
        let mut section = Vec::new();
        let mut record_count = 0;
        let closings = self
            .closings
            .iter()
            .take_while(|closing| closing.delta < end);
        for closing in closings {
            // No record comes to a window that is over, so this is what all of them came to.
            let made = closing.group.map(|group| &self.made[group as usize]);
            let made = match made {
                Some(made) => last_value_before(made, i64::MAX)?,
                None => None,
            };
            let value = made
                .as_deref()
                .unwrap_or_else(|| windows.accumulators.get(Some(&closing.name)));
            let (start, stop) = (closing.start_ms.to_string(), closing.end_ms.to_string());
            let headers = [(START_HEADER, &start), (END_HEADER, &stop)];
            let headers = headers.into_iter().map(|(name, value)| Header {
                name,
                value: Some(value.as_bytes()),
            });
            let last_ms = closing.end_ms.saturating_sub(1);
            write_record(
                &mut section,
                last_ms.wrapping_sub(header.base_timestamp_ms),
                closing.delta,
                key_in(&closing.name),
                Some(value),
                headers,
            );
            record_count += 1;
        }
        Ok(Passing {
            section: Cow::Owned(section),
            record_count,
        })
    }

    /// Has `windows` take over what lies before the offset delta `end`; what that changed.
    pub(crate) fn settle(
        self,
        windows: &mut Windows,
        end: i64,
    ) -> Result<WindowChanges, SettleError> {
        let mut spans = vec![None; self.names.len()];
        for touch in self.touches.iter().take_while(|touch| touch.delta < end) {
            spans[touch.group as usize] = Some(touch.span);
        }
        let mut changes = WindowChanges {
            time_ms: last_before(&self.times, end),
            late: self.late.iter().filter(|late| late.delta < end).count() as u64,
            ..WindowChanges::default()
        };
        for ((name, made), span) in self.names.iter().zip(&self.made).zip(spans) {
            let Some(span) = span else { continue };
            let accumulator = match last_value_before(made, end)? {
                Some(value) => value,
                None => windows.accumulators.get(Some(name)).to_vec(),
            };
            windows.accumulators.set(Some(name), &accumulator)?;
            let entry = WindowEntry {
                start_ms: span.start_ms,
                end_ms: span.end_ms,
                accumulator,
            };
            changes.changed.insert(name.to_vec(), Some(entry));
        }
        let closings = self.closings.into_iter();
        for closing in closings.take_while(|closing| closing.delta < end) {
            windows.accumulators.remove(&closing.name);
            changes.changed.insert(closing.name.into_vec(), None);
        }
        Ok(changes)
    }
}

/// Why windows can't take over what was accumulated.
pub(crate) enum SettleError {
    Full(crate::accumulators::AccumulatorsFull),
    Chain(ChainError),
}

impl From<crate::accumulators::AccumulatorsFull> for SettleError {
    fn from(full: crate::accumulators::AccumulatorsFull) -> Self {
        Self::Full(full)
    }
}

impl From<ChainError> for SettleError {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

fn last_before(times: &[(i64, i64)], end: i64) -> Option<i64> {
    let before = times.iter().take_while(|(delta, _)| *delta < end);
    before.last().map(|(_, time_ms)| *time_ms)
}

/// The value of the last record that a pass gave before the offset delta `end`.
fn last_value_before(made: &Passed, end: i64) -> Result<Option<Vec<u8>>, ChainError> {
    if made.output_count == 0 {
        return Ok(None);
    }
    if end == i64::MAX {
        return made.last_value(SmartModuleKind::Aggregate, &[]);
    }
    let mut last = None;
    let mut position = 0;
    while position < made.output.len() {
        let record = read_record(&made.output, &mut position).map_err(|_| malformed(0))?;
        if record.offset_delta >= end {
            break;
        }
        last = Some(record.value.unwrap_or_default().to_vec());
    }
    Ok(last)
}
