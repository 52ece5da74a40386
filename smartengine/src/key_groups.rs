//! A section's records put together by their keys, for an aggregate that is called for each key.

use std::collections::HashMap;
use std::ops::Range;

use thalweg_smartmodule_abi::read_record;

use crate::ChainError;
use crate::chain_error::malformed;
use crate::records::Place;
use crate::step_pass::Window;

/// A section in which the records of one group follow each other, in the order of the input; the
/// groups in the order of their first records. A group is a key, or a window of one.
pub(crate) struct KeyGroups<'a> {
    /// The records, put together by key.
    pub(crate) section: Vec<u8>,
    keys: Vec<Option<&'a [u8]>>,
    /// Where each group starts, and where the last one ends.
    starts: Vec<Place>,
    /// For each record of `section` its index in the input.
    input_indexes: Vec<u32>,
    /// For each record of the input its offset delta.
    deltas: Vec<i64>,
    /// For each record of `section` where it ends, in bytes.
    ends: Vec<usize>,
}

/// A record of the input, in one of its groups.
pub(crate) struct Member {
    pub(crate) group: u32,
    /// Which record of the input it is.
    pub(crate) index: u32,
    /// Where it stands there.
    pub(crate) bytes: Range<usize>,
}

impl<'a> KeyGroups<'a> {
    /// Groups the records of `input`.
    pub(crate) fn of(input: &'a [u8], record_count: usize) -> Result<Self, ChainError> {
        let mut group_of: HashMap<Option<&[u8]>, u32> = HashMap::new();
        let mut keys = Vec::new();
        let mut members = Vec::new();
        let mut deltas = Vec::new();
        let mut position = 0;
        for index in 0..record_count {
            let start = position;
            let record = read_record(input, &mut position).map_err(|_| malformed(index))?;
            let group = *group_of.entry(record.key).or_insert_with(|| {
                keys.push(record.key);
                (keys.len() - 1) as u32
            });
            deltas.push(record.offset_delta);
            members.push(Member {
                group,
                index: index as u32,
                bytes: start..position,
            });
        }
        Ok(Self::put_together(input, keys, &members, deltas))
    }

    /// Groups as `members` says, in the input's order. `deltas` are the offset deltas of the input's records.
    pub(crate) fn put_together(
        input: &'a [u8],
        keys: Vec<Option<&'a [u8]>>,
        members: &[Member],
        deltas: Vec<i64>,
    ) -> Self {
        let mut starts = vec![Place::default(); keys.len() + 1];
        for member in members {
            let next = &mut starts[member.group as usize + 1];
            next.bytes += member.bytes.len();
            next.record_count += 1;
        }
        for group in 0..keys.len() {
            starts[group + 1].bytes += starts[group].bytes;
            starts[group + 1].record_count += starts[group].record_count;
        }
        let mut section = vec![0; starts[keys.len()].bytes];
        let mut input_indexes = vec![0; members.len()];
        let mut ends = vec![0; members.len()];
        let mut filled = starts.clone();
        for member in members {
            let place = &mut filled[member.group as usize];
            let end = place.bytes + member.bytes.len();
            section[place.bytes..end].copy_from_slice(&input[member.bytes.clone()]);
            input_indexes[place.record_count] = member.index;
            ends[place.record_count] = end;
            place.bytes = end;
            place.record_count += 1;
        }
        Self {
            section,
            keys,
            starts,
            input_indexes,
            deltas,
            ends,
        }
    }

    /// How many keys there are.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn record_count(&self) -> usize {
        self.deltas.len()
    }

    pub(crate) fn key(&self, group: usize) -> Option<&'a [u8]> {
        self.keys[group]
    }

    pub(crate) fn owned_keys(&self) -> Vec<Option<Vec<u8>>> {
        self.keys
            .iter()
            .map(|key| key.map(<[u8]>::to_vec))
            .collect()
    }

    /// The records of a group, as indexes into the section.
    pub(crate) fn range(&self, group: usize) -> Range<usize> {
        self.starts[group].record_count..self.starts[group + 1].record_count
    }

    /// Where in the input the section's record `index` stands.
    pub(crate) fn input_index(&self, index: usize) -> usize {
        self.input_indexes[index] as usize
    }

    /// The offset delta of the input's record `index`.
    pub(crate) fn delta(&self, index: usize) -> i64 {
        self.deltas[index]
    }

    /// The records of a group that stand before the input's record `end`.
    pub(crate) fn window(&self, group: usize, end: usize) -> Window {
        let range = self.range(group);
        let start = self.starts[group];
        let count = self.input_indexes[range.clone()].partition_point(|&i| (i as usize) < end);
        let end = match count.checked_sub(1) {
            None => start,
            Some(last) => Place {
                bytes: self.ends[range.start + last],
                record_count: range.start + count,
            },
        };
        Window { start, end }
    }
}
