//! The header in front of the records that a guest is given.

use crate::Groups;

/// The length of [`InputHeader`] in bytes.
pub const INPUT_HEADER_BYTES: usize = 64;

/// Every record of the batch has the timestamp [`InputHeader::log_append_time_ms`].
pub const FLAG_LOG_APPEND_TIME: u32 = 1;
/// The flags that this version defines; a guest refuses an input with any other.
pub const FLAGS_KNOWN: u32 = FLAG_LOG_APPEND_TIME;

/// What the host says about one call, in front of the records.
///
/// Positions are in bytes from the start of the input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputHeader {
    /// What offset deltas count from.
    pub base_offset: i64,
    /// What timestamp deltas count from, in milliseconds since 1970.
    pub base_timestamp_ms: i64,
    /// How many records follow.
    pub record_count: u32,
    /// [`FLAG_LOG_APPEND_TIME`]; every other bit is 0.
    pub flags: u32,
    /// Where the records start.
    pub records_position: u32,
    /// How many bytes the records have.
    pub records_bytes: u32,
    /// Where the accumulator starts (aggregate only).
    pub accumulator_position: u32,
    /// How many bytes the accumulator has.
    pub accumulator_bytes: u32,
    /// Once its output has this many bytes, a guest should stop after the record at hand and
    /// say how many it consumed.
    pub output_bytes_soft: u32,
    /// How many groups have an accumulator, for [`EXPORT_AGGREGATE_GROUPS`](crate::EXPORT_AGGREGATE_GROUPS); 0 for every
    /// other export.
    pub group_count: u32,
    /// The timestamp of every record, when [`FLAG_LOG_APPEND_TIME`] is set.
    pub log_append_time_ms: i64,
}

impl InputHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; INPUT_HEADER_BYTES] {
        let mut bytes = [0; INPUT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&self.base_offset.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.base_timestamp_ms.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.flags.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.records_position.to_le_bytes());
        bytes[28..32].copy_from_slice(&self.records_bytes.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.accumulator_position.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.accumulator_bytes.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.output_bytes_soft.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.group_count.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.log_append_time_ms.to_le_bytes());
        bytes
    }

    /// The header at the start of `input`; `None` when it is shorter than a header.
    #[must_use]
    pub fn decode(input: &[u8]) -> Option<Self> {
        let bytes: &[u8; INPUT_HEADER_BYTES] = input.first_chunk()?;
        let long = |at: usize| {
            let mut long = [0; 8];
            long.copy_from_slice(&bytes[at..at + 8]);
            i64::from_le_bytes(long)
        };
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&bytes[at..at + 4]);
            u32::from_le_bytes(word)
        };
        Some(Self {
            base_offset: long(0),
            base_timestamp_ms: long(8),
            record_count: word(16),
            flags: word(20),
            records_position: word(24),
            records_bytes: word(28),
            accumulator_position: word(32),
            accumulator_bytes: word(36),
            output_bytes_soft: word(40),
            group_count: word(44),
            log_append_time_ms: long(48),
        })
    }

    /// The records of `input`, which this header leads; `None` when they do not lie within it.
    #[must_use]
    pub fn records<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        section(input, self.records_position, self.records_bytes)
    }

    /// The accumulator in `input`, which this header leads; `None` when it does not lie within it.
    #[must_use]
    pub fn accumulator<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        section(input, self.accumulator_position, self.accumulator_bytes)
    }

    /// The groups of the records in `input`, which this header leads: one where it is not for several. `None` when
    /// they do not lie within it.
    #[must_use]
    pub fn groups<'a>(&self, input: &'a [u8]) -> Option<Groups<'a>> {
        let accumulator = self.accumulator(input)?;
        match self.group_count {
            0 => Some(Groups::one(accumulator)),
            group_count => Groups::read(accumulator, self.record_count, group_count),
        }
    }
}

fn section(input: &[u8], position: u32, bytes: u32) -> Option<&[u8]> {
    let start = position as usize;
    input.get(start..start.checked_add(bytes as usize)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_decodes_to_what_was_encoded() {
        let header = InputHeader {
            base_offset: 1 << 40,
            base_timestamp_ms: -5,
            record_count: 3,
            flags: FLAG_LOG_APPEND_TIME,
            records_position: 64,
            records_bytes: 100,
            accumulator_position: 164,
            accumulator_bytes: 8,
            output_bytes_soft: 1 << 20,
            group_count: 5,
            log_append_time_ms: 77,
        };

        assert_eq!(InputHeader::decode(&header.encode()), Some(header));
        assert_eq!(InputHeader::decode(&[0; 63]), None);
    }
}
