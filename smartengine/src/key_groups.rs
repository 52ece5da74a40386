//! An aggregate's records and their groups: keys, or windows of keys.
//!
//! A module that takes many groups in a call is given the records as they come; any other is called for one group after
//! the other, for which its records are put together.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

use thalweg_smartmodule_abi::read_record;

use crate::ChainError;
use crate::chain_error::malformed;
use crate::records::Place;
use crate::step_pass::Window;

/// A record of a section, in one of its groups.
pub(crate) struct Member {
    pub(crate) group: u32,
    /// Which record of the section it is.
    pub(crate) index: u32,
    /// Its offset delta.
    pub(crate) delta: i64,
    /// Where it stands in the section.
    pub(crate) bytes: Range<usize>,
}

/// Records of a section in groups. A record may be in several, or in none.
pub(crate) struct RecordGroups<'a> {
    section: &'a [u8],
    /// In the section's order.
    pub(crate) members: Vec<Member>,
    /// What each group's accumulator is known by; in the order of their first records.
    pub(crate) keys: Vec<Option<&'a [u8]>>,
}

/// A section in which the records of one group follow each other, in their order.
pub(crate) struct KeyGroups {
    pub(crate) section: Vec<u8>,
    /// Where each group starts, and where the last one ends.
    starts: Vec<Place>,
    /// For each record which of the members it is.
    members: Vec<u32>,
    /// For each record where it ends, in bytes.
    ends: Vec<usize>,
}

impl<'a> RecordGroups<'a> {
    /// The members of `section`, which are in groups of these keys.
    pub(crate) fn new(
        section: &'a [u8],
        members: Vec<Member>,
        keys: Vec<Option<&'a [u8]>>,
    ) -> Self {
        Self {
            section,
            members,
            keys,
        }
    }

    /// Groups the records of `section` by their keys.
    pub(crate) fn by_key(section: &'a [u8], record_count: usize) -> Result<Self, ChainError> {
        let mut group_of: HashMap<Option<&[u8]>, u32> = HashMap::with_capacity(record_count);
        let mut keys = Vec::new();
        let mut members = Vec::with_capacity(record_count);
        let mut position = 0;
        for index in 0..record_count {
            let start = position;
            let record = read_record(section, &mut position).map_err(|_| malformed(index))?;
            let group = *group_of.entry(record.key).or_insert_with(|| {
                keys.push(record.key);
                (keys.len() - 1) as u32
            });
            members.push(Member {
                group,
                index: index as u32,
                delta: record.offset_delta,
                bytes: start..position,
            });
        }
        Ok(Self::new(section, members, keys))
    }

    pub(crate) fn owned_keys(&self) -> Vec<Option<Vec<u8>>> {
        let keys = self.keys.iter();
        keys.map(|key| key.map(<[u8]>::to_vec)).collect()
    }

    /// How many members stand before the record with index `index`.
    pub(crate) fn before(&self, index: u32) -> usize {
        self.members.partition_point(|member| member.index < index)
    }

    /// The first `count` members one after the other: nothing is copied where they follow each other.
    pub(crate) fn section_of(&self, count: usize) -> Cow<'a, [u8]> {
        let members = &self.members[..count];
        let mut end = 0;
        let follow_each_other = members.iter().all(|member| {
            let follows = member.bytes.start == end;
            end = member.bytes.end;
            follows
        });
        if follow_each_other {
            return Cow::Borrowed(&self.section[..end]);
        }
        let mut section = Vec::new();
        for member in members {
            section.extend_from_slice(&self.section[member.bytes.clone()]);
        }
        Cow::Owned(section)
    }

    /// The first `count` members, put together by their groups.
    pub(crate) fn put_together(&self, count: usize) -> KeyGroups {
        let members = &self.members[..count];
        let group_count = self.keys.len();
        let mut starts = vec![Place::default(); group_count + 1];
        for member in members {
            let next = &mut starts[member.group as usize + 1];
            next.bytes += member.bytes.len();
            next.record_count += 1;
        }
        for group in 0..group_count {
            starts[group + 1].bytes += starts[group].bytes;
            starts[group + 1].record_count += starts[group].record_count;
        }
        let mut section = vec![0; starts[group_count].bytes];
        let mut numbers = vec![0; members.len()];
        let mut ends = vec![0; members.len()];
        let mut filled = starts.clone();
        for (number, member) in members.iter().enumerate() {
            let place = &mut filled[member.group as usize];
            let end = place.bytes + member.bytes.len();
            section[place.bytes..end].copy_from_slice(&self.section[member.bytes.clone()]);
            numbers[place.record_count] = number as u32;
            ends[place.record_count] = end;
            place.bytes = end;
            place.record_count += 1;
        }
        KeyGroups {
            section,
            starts,
            members: numbers,
            ends,
        }
    }
}

impl KeyGroups {
    /// The records of a group, as indexes into the section.
    pub(crate) fn range(&self, group: usize) -> Range<usize> {
        self.starts[group].record_count..self.starts[group + 1].record_count
    }

    /// Which of the members the section's record `index` is.
    pub(crate) fn member(&self, index: usize) -> usize {
        self.members[index] as usize
    }

    /// The records of a group that stand before the member `end`.
    pub(crate) fn window(&self, group: usize, end: usize) -> Window {
        let range = self.range(group);
        let start = self.starts[group];
        let count = self.members[range.clone()].partition_point(|&i| (i as usize) < end);
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
