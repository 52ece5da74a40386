//! What a pass over the records of many groups keeps: which accumulator each group has come to, and the bytes that tell
//! a call of those of its records.

use std::ops::Range;

use thalweg_smartmodule_abi::write_groups;

use crate::accumulators::KeyedAccumulators;
use crate::key_groups::{Member, RecordGroups};
use crate::records::{Place, check_record};
use crate::step_pass::Window;

/// Marks a group that has no number in a call.
const NO_NUMBER: u32 = u32::MAX;

/// The accumulators of a pass over records of many groups.
pub(crate) struct GroupTable<'a> {
    members: &'a [Member],
    keys: &'a [Option<&'a [u8]>],
    accumulators: &'a KeyedAccumulators,
    /// How many bytes the accumulators of one call may have.
    bytes_max: usize,
    /// For each group where in the pass's output its last accumulator stands, once there is one.
    last: Vec<Option<Range<usize>>>,
    /// For each group its number in the call at hand.
    numbers: Vec<u32>,
    /// The groups of the call at hand, in the order of their numbers.
    in_call: Vec<u32>,
    /// What the call is told of its groups.
    bytes: Vec<u8>,
    repeated_bytes: usize,
}

/// What a call is told of groups, and what its records would be if each repeated its group's accumulator.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableOfCall<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) group_count: usize,
    pub(crate) repeated_bytes: usize,
}

impl<'a> GroupTable<'a> {
    /// Of the first `count` of the records.
    pub(crate) fn new(
        records: &'a RecordGroups<'_>,
        count: usize,
        accumulators: &'a KeyedAccumulators,
        bytes_max: usize,
    ) -> Self {
        let group_count = records.keys.len();
        Self {
            members: &records.members[..count],
            keys: &records.keys,
            accumulators,
            bytes_max,
            last: vec![None; group_count],
            numbers: vec![NO_NUMBER; group_count],
            in_call: Vec::new(),
            bytes: Vec::new(),
            repeated_bytes: 0,
        }
    }

    /// All records.
    pub(crate) fn window(&self) -> Window {
        let bytes = self.members.iter().map(|member| member.bytes.len()).sum();
        Window {
            start: Place::default(),
            end: Place {
                bytes,
                record_count: self.members.len(),
            },
        }
    }

    /// Gathers what a call with at most `record_count` records from `start` on is told. Gives where those end that it
    /// is about: one at least, and no more than have room for their accumulators.
    pub(crate) fn fill(&mut self, start: Place, record_count: usize, output: &[u8]) -> Place {
        let mut end = start;
        let mut found: Vec<&[u8]> = Vec::new();
        let mut accumulators_bytes = 0;
        self.repeated_bytes = 0;
        let (last, keys, known) = (&self.last, self.keys, self.accumulators);
        for member in self.members[start.record_count..].iter().take(record_count) {
            let group = member.group as usize;
            if self.numbers[group] == NO_NUMBER {
                let accumulator = match &last[group] {
                    Some(range) => &output[range.clone()],
                    None => known.get(keys[group]),
                };
                accumulators_bytes += accumulator.len();
                if accumulators_bytes > self.bytes_max && end != start {
                    break;
                }
                self.numbers[group] = found.len() as u32;
                self.in_call.push(member.group);
                found.push(accumulator);
            }
            self.repeated_bytes += found[self.numbers[group] as usize].len();
            end = Place {
                bytes: end.bytes + member.bytes.len(),
                record_count: end.record_count + 1,
            };
        }
        let of_call = &self.members[start.record_count..end.record_count];
        let numbers = of_call
            .iter()
            .map(|member| self.numbers[member.group as usize]);
        self.bytes.clear();
        write_groups(&mut self.bytes, numbers, found.into_iter());
        end
    }

    /// What the call is told.
    pub(crate) fn of_call(&self) -> TableOfCall<'_> {
        TableOfCall {
            bytes: &self.bytes,
            group_count: self.in_call.len(),
            repeated_bytes: self.repeated_bytes,
        }
    }

    /// Checks and notes what the call gave for the records from `start` on: what stands from `written` in the pass's
    /// output, one record for each. The reason, where one is given, completes "SmartModule `x` answered garbage: ".
    pub(crate) fn take(
        &mut self,
        start: usize,
        output: &[u8],
        written: usize,
        record_count: usize,
    ) -> Result<(), String> {
        for group in self.in_call.drain(..) {
            self.numbers[group as usize] = NO_NUMBER;
        }
        let members = &self.members[start..];
        let mut position = written;
        for (index, member) in members.iter().take(record_count).enumerate() {
            let record = check_record(output, &mut position)
                .ok_or_else(|| format!("output record {index} of {record_count} does not parse"))?;
            // Another offset would bring the records of different groups out of order.
            if record.offset_delta != member.delta {
                return Err(gave_another(record.offset_delta, member.delta));
            }
            self.last[member.group as usize] = Some(record.value);
        }
        if position != output.len() {
            return Err(format!(
                "the output has {} bytes behind its {record_count} records",
                output.len() - position
            ));
        }
        Ok(())
    }
}

/// The reason of a record that does not have the offset of the one that it came from.
pub(crate) fn gave_another(offset_delta: i64, expected: i64) -> String {
    format!("it gave offset delta {offset_delta} for the record at {expected}")
}
