//! The accumulators of an aggregate that is given the records of many groups in one call.
//!
//! They stand in the input where that of one group stands alone:
//!
//! ```text
//! for each record: number of its group u32 | for each group: length of its accumulator u32 | the accumulators
//! ```

use alloc::vec::Vec;

/// Which group each record of a call belongs to, and what each group has accumulated before.
#[derive(Debug, Clone, Copy)]
pub struct Groups<'a> {
    /// Absent where all records are of one group.
    of_records: Option<&'a [[u8; 4]]>,
    lengths: &'a [[u8; 4]],
    accumulators: &'a [u8],
}

impl<'a> Groups<'a> {
    /// All records in one group, with this accumulator.
    #[must_use]
    pub const fn one(accumulator: &'a [u8]) -> Self {
        Self {
            of_records: None,
            lengths: &[],
            accumulators: accumulator,
        }
    }

    /// Reads what [`write_groups`] wrote for so many records and groups; `None` when `bytes` are too few for it.
    #[must_use]
    pub fn read(bytes: &'a [u8], record_count: u32, group_count: u32) -> Option<Self> {
        let (of_records, rest) = words(bytes, record_count)?;
        let (lengths, accumulators) = words(rest, group_count)?;
        Some(Self {
            of_records: Some(of_records),
            lengths,
            accumulators,
        })
    }

    /// The number of the group that record `index` of the call belongs to. It may be that of none.
    #[inline]
    #[must_use]
    pub fn of_record(&self, index: usize) -> usize {
        match self.of_records {
            None => 0,
            Some(numbers) => numbers
                .get(index)
                .map_or(usize::MAX, |number| u32::from_le_bytes(*number) as usize),
        }
    }

    /// What each group has accumulated, in the order of their numbers; `None` for one that reaches out of the input.
    pub fn accumulators(&self) -> impl Iterator<Item = Option<&'a [u8]>> + 'a {
        let accumulators = self.accumulators;
        let whole = self.of_records.is_none().then_some(Some(accumulators));
        let mut position = 0_usize;
        let parts = self.lengths.iter().map(move |length| {
            let start = position;
            position = start.checked_add(u32::from_le_bytes(*length) as usize)?;
            accumulators.get(start..position)
        });
        whole.into_iter().chain(parts)
    }
}

/// Appends the number of each record's group, and each group's accumulator.
pub fn write_groups<'a>(
    out: &mut Vec<u8>,
    of_records: impl Iterator<Item = u32>,
    accumulators: impl Iterator<Item = &'a [u8]> + Clone,
) {
    for number in of_records {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for accumulator in accumulators.clone() {
        out.extend_from_slice(&(accumulator.len() as u32).to_le_bytes());
    }
    for accumulator in accumulators {
        out.extend_from_slice(accumulator);
    }
}

/// The first `count` numbers of `bytes`, and what follows them.
fn words(bytes: &[u8], count: u32) -> Option<(&[[u8; 4]], &[u8])> {
    let bytes_count = (count as usize).checked_mul(4)?;
    let (words, rest) = bytes.split_at_checked(bytes_count)?;
    Some((words.as_chunks().0, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_read_back_as_written_and_are_refused_when_cut() {
        let accumulators = [&b"first"[..], b"", b"third"];
        let mut bytes = Vec::new();
        write_groups(
            &mut bytes,
            [0, 1, 0, 2].into_iter(),
            accumulators.into_iter(),
        );

        let groups = Groups::read(&bytes, 4, 3).unwrap();
        let numbers: Vec<_> = (0..4).map(|index| groups.of_record(index)).collect();
        assert_eq!(numbers, [0, 1, 0, 2]);
        assert_eq!(groups.of_record(4), usize::MAX);
        assert!(groups.accumulators().eq(accumulators.map(Some)));
        let cut = Groups::read(&bytes[..bytes.len() - 1], 4, 3).unwrap();
        assert_eq!(cut.accumulators().last(), Some(None));
        assert!(Groups::read(&bytes[..27], 4, 3).is_none());
    }

    #[test]
    fn one_group_has_all_records() {
        let groups = Groups::one(b"sum");
        assert_eq!(groups.of_record(7), 0);
        assert!(groups.accumulators().eq([Some(&b"sum"[..])]));
    }
}
