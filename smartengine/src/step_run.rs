//! What one step makes of the records that reach it: whole, or for an aggregate by key one key
//! after the other, or one window.

use std::borrow::Cow;

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::read_record;

use crate::accumulators::{Accumulators, KeyedAccumulators};
use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::group_run::{last_values, run_in_groups};
use crate::key_groups::RecordGroups;
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

/// Runs an aggregate for each key, over the records of that key in order.
fn run_by_key<'a>(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    input: &Passing<'a>,
    accumulators: &KeyedAccumulators,
) -> Result<Stepped<'a>, ChainError> {
    let groups = RecordGroups::by_key(&input.section, input.record_count)?;
    let count = groups.members.len();
    let passed = run_in_groups(step, step_index, header, &groups, count, accumulators)?;
    let mut stepped = Stepped {
        passing: Passing {
            record_count: passed.run.of_records.len(),
            section: Cow::Owned(passed.run.section),
        },
        failing: passed.failing,
        stopped_at: None,
        failure: None,
        accumulated: Some(Accumulated::ByKey(KeysOfRecords {
            keys: groups.owned_keys(),
            of_records: passed.run.of_records,
        })),
    };
    if let Some((member, failure)) = passed.stopped {
        stepped.stopped_at = Some(groups.members[member].delta);
        stepped.failure = Some(failure);
        cut(&mut stepped)?;
    }
    Ok(stepped)
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
        let of_records = self.of_records.into_iter().take(aggregated.record_count);
        let last = last_values(&aggregated.section, of_records, self.keys.len(), end)?;
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
