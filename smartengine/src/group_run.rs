//! An aggregate's run over records in groups: many of them in a call where its module takes that, or else one group after
//! the other. Either gives the same.

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::read_record;

use crate::ChainError;
use crate::accumulators::KeyedAccumulators;
use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::group_table::{GroupTable, gave_another};
use crate::guest::Fault;
use crate::key_groups::{KeyGroups, RecordGroups};
use crate::open_step::OpenStep;
use crate::step_pass::{Passed, StepPass};

/// What an aggregate gave for records in groups.
#[derive(Default)]
pub(crate) struct GroupRun {
    /// Records, in the order of those that they came from.
    pub(crate) section: Vec<u8>,
    /// For each of them its group.
    pub(crate) of_records: Vec<u32>,
}

/// What a run came to.
pub(crate) struct GroupsPassed {
    pub(crate) run: GroupRun,
    pub(crate) failing: Vec<Failing>,
    /// The first member that was not dealt with, in their order, and why.
    pub(crate) stopped: Option<(usize, ChainError)>,
}

/// Runs an aggregate over the first `count` members of `records`.
pub(crate) fn run_in_groups(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    records: &RecordGroups<'_>,
    count: usize,
    accumulators: &KeyedAccumulators,
) -> Result<GroupsPassed, ChainError> {
    if step.takes_groups() {
        together(step, step_index, header, records, count, accumulators)
    } else {
        one_by_one(step, step_index, header, records, count, accumulators)
    }
}

/// Runs it with records of many groups in a call.
fn together(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    records: &RecordGroups<'_>,
    count: usize,
    accumulators: &KeyedAccumulators,
) -> Result<GroupsPassed, ChainError> {
    let bytes_max = step.limits.group_accumulators_bytes();
    let mut table = GroupTable::new(records, count, accumulators, bytes_max);
    let section = records.section_of(count);
    let mut passed =
        StepPass::new(step, step_index, header, &section, false).run_groups(&mut table)?;
    let stopped = passed.failure.take().map(|failure| {
        let place = passed.stopped_at.unwrap_or_default();
        (place.record_count, failure)
    });
    let members = records.members.iter().enumerate();
    let mut left_out = passed.left_out.iter().peekable();
    let of_records = members
        .filter(|(index, _)| left_out.next_if(|left| **left == *index).is_none())
        .map(|(_, member)| member.group)
        .take(passed.output_count)
        .collect();
    Ok(GroupsPassed {
        run: GroupRun {
            section: passed.output,
            of_records,
        },
        failing: passed.failing,
        stopped,
    })
}

/// Runs it once for each group, over the group's records in order.
fn one_by_one(
    step: &mut OpenStep,
    step_index: usize,
    header: &BatchHeader,
    records: &RecordGroups<'_>,
    count: usize,
    accumulators: &KeyedAccumulators,
) -> Result<GroupsPassed, ChainError> {
    let groups = records.put_together(count);
    let mut pass = StepPass::new(step, step_index, header, &groups.section, false);
    let mut made: Vec<Passed> = Vec::with_capacity(records.keys.len());
    let mut stopped: Option<(usize, ChainError)> = None;
    let mut end = count;
    for (group, key) in records.keys.iter().enumerate() {
        let window = groups.window(group, end);
        let mut passed = pass.run(window, accumulators.get(*key))?;
        if let Some(failure) = passed.failure.take() {
            let place = passed.stopped_at.unwrap_or(window.start);
            let member = groups.member(place.record_count);
            stopped = Some((member, failure));
            end = records.before(records.members[member].index);
        }
        made.push(passed);
    }
    let output_bytes: usize = made.iter().map(|passed| passed.output.len()).sum();
    if output_bytes > step.limits.output_bytes {
        return Err(step.error_of(Fault::Output(step.limits.output_bytes)));
    }
    let run = in_order(records, &groups, &made, end).map_err(|reason| match reason {
        NotInOrder::Garbage(reason) => step.garbage(reason),
        NotInOrder::Malformed(error) => error,
    })?;
    Ok(GroupsPassed {
        run,
        failing: made.into_iter().flat_map(|passed| passed.failing).collect(),
        stopped,
    })
}

enum NotInOrder {
    Garbage(String),
    Malformed(ChainError),
}

/// Puts what came of each group back in the order of the members, up to the member `end`.
fn in_order(
    records: &RecordGroups<'_>,
    groups: &KeyGroups,
    made: &[Passed],
    end: usize,
) -> Result<GroupRun, NotInOrder> {
    // For each member its group and where its output stands there.
    let mut places: Vec<Option<(u32, usize, usize)>> = vec![None; records.members.len()];
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
            let record = read_record(&passed.output, &mut position)
                .map_err(|_| NotInOrder::Malformed(malformed(index)))?;
            let member = groups.member(index);
            // Another offset would bring the records of different keys out of order.
            let expected = records.members[member].delta;
            if record.offset_delta != expected {
                let reason = gave_another(record.offset_delta, expected);
                return Err(NotInOrder::Garbage(reason));
            }
            places[member] = Some((group as u32, start, position));
        }
    }
    let mut run = GroupRun::default();
    for &(group, start, stop) in places.iter().take(end).flatten() {
        let output = &made[group as usize].output;
        run.section.extend_from_slice(&output[start..stop]);
        run.of_records.push(group);
    }
    Ok(run)
}

/// For each of `group_count` groups the value of its last record below the offset delta `end`, in a section whose
/// records are of the groups `of_records`.
pub(crate) fn last_values(
    section: &[u8],
    of_records: impl Iterator<Item = u32>,
    group_count: usize,
    end: i64,
) -> Result<Vec<Option<&[u8]>>, ChainError> {
    let mut last = vec![None; group_count];
    let mut position = 0;
    for group in of_records {
        let record = read_record(section, &mut position).map_err(|_| malformed(0))?;
        if record.offset_delta >= end {
            break;
        }
        last[group as usize] = Some(record.value.unwrap_or_default());
    }
    Ok(last)
}
