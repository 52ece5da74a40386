//! What one step makes of the records that reach it: whole, or for an aggregate by key one key
//! after the other, or one window.

use std::borrow::Cow;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::read_record;

use crate::accumulators::{Accumulators, KeyedAccumulators};
use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::key_groups::KeyGroups;
use crate::open_step::OpenStep;
use crate::records::{Place, below, keep};
use crate::step_pass::{Passed, StepPass, Window};
use crate::windowed_step::{WindowRun, run_windowed};
use crate::{ChainError, SmartModuleKind};

/// Records on their way through the chain.
#[derive(Clone, Default)]
pub(crate) struct Passing<'a> {
    pub(crate) section: Cow<'a, [u8]>,
    pub(crate) record_count: usize,
}

/// What one step made of the records it was given.
pub(crate) struct Stepped<'a> {
    pub(crate) passing: Passing<'a>,
    pub(crate) failing: Vec<Failing>,
    /// The offset delta of the first input record that was not dealt with.
    pub(crate) stopped_at: Option<i64>,
    pub(crate) failure: Option<ChainError>,
    /// For an aggregate by key or by window: what it accumulated.
    pub(crate) accumulated: Option<Accumulated>,
}

/// What an aggregate accumulated.
pub(crate) enum Accumulated {
    /// By key: the records that it gave say.
    ByKey(KeysOfRecords),
    /// In windows.
    Windowed(WindowRun),
}

/// Which key each of an aggregate's output records belongs to.
pub(crate) struct KeysOfRecords {
    keys: Vec<Option<Vec<u8>>>,
    /// For each record an index into `keys`.
    of_records: Vec<u32>,
}

/// Runs a step over `input`. The first step may leave the rest of the batch for another time; a
/// later one may not, as the earlier ones have dealt with its input already.
pub(crate) fn run_step<'a>(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    input: Passing<'a>,
    accumulators: &mut Accumulators,
) -> Result<Stepped<'a>, ChainError> {
    let accumulator = match (step.kind(), accumulators) {
        (SmartModuleKind::Aggregate, Accumulators::Windowed(windows)) => {
            return run_windowed(step, step_index, header, &input, windows);
        }
        (SmartModuleKind::Aggregate, Accumulators::ByKey(keyed)) => {
            return run_by_key(step, step_index, header, &input, keyed);
        }
        (SmartModuleKind::Aggregate, Accumulators::One(one)) => one.as_slice(),
        _ => &[],
    };
    let kind = step.kind();
    let window = Window {
        start: Place::default(),
        end: Place {
            bytes: input.section.len(),
            record_count: input.record_count,
        },
    };
    let mut pass = StepPass::new(step, step_index, header, &input.section, step_index == 0);
    let passed = pass.run(window, accumulator)?;
    let stopped_at = passed
        .stopped_at
        .map(|place| delta_at(&input.section, place.bytes))
        .transpose()?;
    let passing = match kind {
        SmartModuleKind::Filter => kept(input, &passed)?,
        _ => Passing {
            section: Cow::Owned(passed.output),
            record_count: passed.output_count,
        },
    };
    let mut stepped = Stepped {
        passing,
        failing: passed.failing,
        stopped_at,
        failure: passed.failure,
        accumulated: None,
    };
    if stepped.failure.is_some() {
        cut(&mut stepped)?;
    }
    Ok(stepped)
}

/// Runs an aggregate once for each key, over the records of that key in order.
fn run_by_key<'a>(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    input: &Passing<'a>,
    accumulators: &KeyedAccumulators,
) -> Result<Stepped<'a>, ChainError> {
    let groups = KeyGroups::of(&input.section, input.record_count)?;
    let mut pass = StepPass::new(step, step_index, header, &groups.section, false);
    let mut made: Vec<Passed> = Vec::with_capacity(groups.len());
    // The first record, in the input's order, that was not dealt with, and why.
    let mut stopped: Option<(usize, ChainError)> = None;
    for group in 0..groups.len() {
        let end = stopped.as_ref().map_or(usize::MAX, |(index, _)| *index);
        let window = groups.window(group, end);
        let mut passed = pass.run(window, accumulators.get(groups.key(group)))?;
        if let Some(failure) = passed.failure.take() {
            let place = passed.stopped_at.unwrap_or(window.start);
            stopped = Some((groups.input_index(place.record_count), failure));
        }
        made.push(passed);
    }
    let output_bytes: usize = made.iter().map(|passed| passed.output.len()).sum();
    if output_bytes > step.limits.output_bytes {
        let limit = step.limits.output_bytes;
        return Err(step.error_of(crate::guest::Fault::Output(limit)));
    }
    let mut stepped = Stepped {
        passing: Passing::default(),
        failing: Vec::new(),
        stopped_at: None,
        failure: None,
        accumulated: None,
    };
    let end = stopped.as_ref().map_or(input.record_count, |stop| stop.0);
    in_order(step, &groups, made, end, &mut stepped)?;
    if let Some((index, failure)) = stopped {
        stepped.stopped_at = Some(groups.delta(index));
        stepped.failure = Some(failure);
        cut(&mut stepped)?;
    }
    Ok(stepped)
}

/// Puts what came of each group back in the input's order, up to the input's record `end`.
fn in_order(
    step: &OpenStep,
    groups: &KeyGroups<'_>,
    made: Vec<Passed>,
    end: usize,
    stepped: &mut Stepped<'_>,
) -> Result<(), ChainError> {
    // For each input record its group and where its output stands there.
    let mut places: Vec<Option<(u32, usize, usize)>> = vec![None; groups.record_count()];
    for (group, passed) in made.iter().enumerate() {
        let mut left_out = passed.left_out.iter().peekable();
        let mut position = 0;
        for index in groups.range(group) {
            if left_out.next_if(|left| **left == index).is_some() {
                continue;
            }
            if position == passed.output.len() {
                break;
            }
            let start = position;
            let record =
                read_record(&passed.output, &mut position).map_err(|_| malformed(index))?;
            let input_index = groups.input_index(index);
            // Another offset would bring the records of different keys out of order.
            if record.offset_delta != groups.delta(input_index) {
                return Err(step.garbage(format!(
                    "it gave offset delta {} for the record at {}",
                    record.offset_delta,
                    groups.delta(input_index)
                )));
            }
            places[input_index] = Some((group as u32, start, position));
        }
    }
    let section = stepped.passing.section.to_mut();
    let mut of_records = Vec::with_capacity(groups.record_count());
    for &(group, start, stop) in places.iter().take(end).flatten() {
        section.extend_from_slice(&made[group as usize].output[start..stop]);
        of_records.push(group);
    }
    stepped.passing.record_count = of_records.len();
    stepped.failing = made.into_iter().flat_map(|passed| passed.failing).collect();
    stepped.accumulated = Some(Accumulated::ByKey(KeysOfRecords {
        keys: groups.owned_keys(),
        of_records,
    }));
    Ok(())
}

/// A key, and the accumulator that it has come to.
pub(crate) type LastValue<'a> = (Option<Vec<u8>>, &'a [u8]);

impl KeysOfRecords {
    /// The last accumulator of each key in `aggregated`, below the offset delta `end`; each key once.
    pub(crate) fn last_values<'a>(
        self,
        aggregated: &'a Passing<'_>,
        end: i64,
    ) -> Result<Vec<LastValue<'a>>, ChainError> {
        let mut last: Vec<Option<&[u8]>> = vec![None; self.keys.len()];
        let mut position = 0;
        for &group in self.of_records.iter().take(aggregated.record_count) {
            let record =
                read_record(&aggregated.section, &mut position).map_err(|_| malformed(0))?;
            if record.offset_delta >= end {
                break;
            }
            last[group as usize] = Some(record.value.unwrap_or_default());
        }
        Ok(self
            .keys
            .into_iter()
            .zip(last)
            .filter_map(|(key, value)| Some((key, value?)))
            .collect())
    }
}

/// The records that a filter kept. Nothing is copied when it kept all, nor walked when none.
fn kept<'a>(input: Passing<'a>, passed: &Passed) -> Result<Passing<'a>, ChainError> {
    let record_count = passed.output_count;
    let section = if record_count == 0 {
        Cow::Borrowed(&[][..])
    } else if record_count == input.record_count {
        input.section
    } else {
        let kept = keep(&input.section, input.record_count, &passed.output);
        Cow::Owned(kept.map_err(|_| malformed(0))?)
    };
    Ok(Passing {
        section,
        record_count,
    })
}

/// Cuts what a step made down to what lies before the record it failed at: an earlier step may
/// have made several records of one offset, and an offset comes out whole or not at all when the
/// stream ends.
pub(crate) fn cut(stepped: &mut Stepped<'_>) -> Result<(), ChainError> {
    let Some(end) = stepped.stopped_at else {
        return Ok(());
    };
    let passing = &mut stepped.passing;
    let place = below(&passing.section, passing.record_count, end).map_err(|_| malformed(0))?;
    passing.section.to_mut().truncate(place.bytes);
    passing.record_count = place.record_count;
    Ok(())
}

fn delta_at(section: &[u8], mut position: usize) -> Result<i64, ChainError> {
    let record = read_record(section, &mut position).map_err(|_| malformed(0))?;
    Ok(record.offset_delta)
}
