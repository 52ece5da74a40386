//! An aggregate over windows: run once for each window of each key, and what the windows came to is given out when they
//! are over.

use std::borrow::Cow;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{Header, write_record};
use thalweg_types::LateRecords;

use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::group_run::{GroupRun, run_in_groups};
use crate::key_groups::RecordGroups;
use crate::open_step::OpenStep;
use crate::records::nth;
use crate::step_run::{Accumulated, Passing, Stepped, cut};
use crate::windows::{Closing, LateRecord, Touch, WindowEntry, WindowPlan, Windows, key_in};
use crate::{ChainError, OnFailure, WindowChanges, group_run};

/// The header that says when a window began, in milliseconds since 1970.
const START_HEADER: &[u8] = b"thalweg.window.start";
/// The header that says when it ended.
const END_HEADER: &[u8] = b"thalweg.window.end";

/// What an aggregate made of some records in its windows, kept while later steps may still cut it short.
pub(crate) struct WindowRun {
    names: Vec<Box<[u8]>>,
    /// What came of them.
    made: GroupRun,
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
    let stops_late = stop_at_late(
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
        touches,
        closings,
        late,
        times,
    } = plan;
    let keys = names.iter().map(|name| Some(&**name)).collect();
    let groups = RecordGroups::new(&input.section, members, keys);
    let count = match &stops_late {
        Some((late, _)) => groups.before(late.index as u32),
        None => groups.members.len(),
    };
    let accumulators = &windows.accumulators;
    let mut passed = run_in_groups(step, step_index, header, &groups, count, accumulators)?;
    failing.append(&mut passed.failing);
    let (stopped_at, failure) = match (passed.stopped, stops_late) {
        (Some((member, failure)), _) => (Some(groups.members[member].delta), Some(failure)),
        (None, Some((late, failure))) => (Some(late.delta), Some(failure)),
        (None, None) => (None, None),
    };
    drop(groups);
    let run = WindowRun {
        names,
        made: passed.run,
        touches,
        closings,
        late,
        times,
    };
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
) -> Result<Option<(LateRecord, ChainError)>, ChainError> {
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
            return Ok(Some((*late, error)));
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
        let mut closings = self
            .closings
            .iter()
            .take_while(|closing| closing.delta < end)
            .peekable();
        if closings.peek().is_none() {
            return Ok(Passing::default());
        }
        // No record comes to a window that is over, so this is what all of them came to.
        let made = last_values(&self.made, self.names.len(), i64::MAX)?;
        for closing in closings {
            let value = closing
                .group
                .and_then(|group| made[group as usize])
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
        let last = last_values(&self.made, self.names.len(), end)?;
        let mut changed = Vec::with_capacity(self.names.len());
        for ((name, value), span) in self.names.into_iter().zip(last).zip(spans) {
            let Some(span) = span else { continue };
            let accumulator = match value {
                Some(value) => value.to_vec(),
                None => windows.accumulators.get(Some(&name)).to_vec(),
            };
            windows.accumulators.set(Some(&name), &accumulator)?;
            let entry = WindowEntry {
                start_ms: span.start_ms,
                end_ms: span.end_ms,
                accumulator,
            };
            changed.push((name.into_vec(), Some(entry)));
        }
        // A map is made of many entries at once in less time than of one after the other.
        changes.changed = changed.into_iter().collect();
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

/// What each of the windows had come to before the offset delta `end`; none where no record gave anything.
fn last_values(
    made: &GroupRun,
    window_count: usize,
    end: i64,
) -> Result<Vec<Option<&[u8]>>, ChainError> {
    let of_records = made.of_records.iter().copied();
    group_run::last_values(&made.section, of_records, window_count, end)
}

fn last_before(times: &[(i64, i64)], end: i64) -> Option<i64> {
    let before = times.iter().take_while(|(delta, _)| *delta < end);
    before.last().map(|(_, time_ms)| *time_ms)
}
