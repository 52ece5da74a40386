//! Cutting and checking record sections without encoding anything again.
//!
//! A *section* is what follows the header of an uncompressed batch: records back to back. Sections
//! come from the log or from a guest; both are checked here as far as they are relied on.

use std::ops::Range;

use thalweg_smartmodule_abi::{
    MalformedRecord, RawRecord, bitmap_get, read_record, read_varint, read_varint_32,
};

/// A place between two records of a section: how much lies before it, in bytes and records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) bytes: usize,
    pub(crate) record_count: usize,
}

/// The records at the start of `section` with an offset delta below `delta`.
pub(crate) fn below(
    section: &[u8],
    record_count: usize,
    delta: i64,
) -> Result<Place, MalformedRecord> {
    let mut position = 0;
    for index in 0..record_count {
        let start = position;
        if read_record(section, &mut position)?.offset_delta >= delta {
            return Ok(Place {
                bytes: start,
                record_count: index,
            });
        }
    }
    Ok(Place {
        bytes: position,
        record_count,
    })
}

/// The place `record_count` records behind `from`.
pub(crate) fn advance(
    section: &[u8],
    from: Place,
    record_count: usize,
) -> Result<Place, MalformedRecord> {
    let mut position = from.bytes;
    for _ in 0..record_count {
        skip_record(section, &mut position)?;
    }
    Ok(Place {
        bytes: position,
        record_count: from.record_count + record_count,
    })
}

/// Record `index` of `section`.
pub(crate) fn nth(section: &[u8], index: usize) -> Result<RawRecord<'_>, MalformedRecord> {
    let mut position = advance(section, Place::default(), index)?.bytes;
    read_record(section, &mut position)
}

/// The records of `section` whose bit is set, copied a run at a time.
pub(crate) fn keep(
    section: &[u8],
    record_count: usize,
    bitmap: &[u8],
) -> Result<Vec<u8>, MalformedRecord> {
    let mut kept = Vec::new();
    let mut position = 0;
    let mut run = 0..0;
    for index in 0..record_count {
        let start = position;
        skip_record(section, &mut position)?;
        if bitmap_get(bitmap, index) {
            if run.end != start {
                kept.extend_from_slice(&section[run]);
                run = start..start;
            }
            run.end = position;
        }
    }
    kept.extend_from_slice(&section[run]);
    Ok(kept)
}

/// Checks a section that a guest wrote: exactly `record_count` well-formed records, with offset
/// deltas that do not go back and lie within `first..=last`.
pub(crate) fn check_written(
    section: &[u8],
    record_count: usize,
    first: i64,
    last: i64,
) -> Result<(), String> {
    let mut position = 0;
    let mut previous = first;
    for index in 0..record_count {
        let record = check_record(section, &mut position)
            .ok_or_else(|| format!("output record {index} of {record_count} does not parse"))?;
        let offset_delta = record.offset_delta;
        if !(previous..=last).contains(&offset_delta) {
            return Err(format!(
                "output record {index} has offset delta {offset_delta}, which is not one of the input's from {previous} to {last}"
            ));
        }
        previous = offset_delta;
    }
    if position != section.len() {
        return Err(format!(
            "the output has {} bytes behind its {record_count} records",
            section.len() - position
        ));
    }
    Ok(())
}

/// A record that a guest wrote, checked.
pub(crate) struct Written {
    pub(crate) offset_delta: i64,
    /// Where its value stands; nowhere of a null one.
    pub(crate) value: Range<usize>,
}

/// Checks the record at `*position`, moves behind it, and gives what matters of it.
#[inline]
pub(crate) fn check_record(section: &[u8], position: &mut usize) -> Option<Written> {
    let start = *position;
    skip_record(section, position).ok()?;
    let body = section.get(..*position)?;
    let mut at = start;
    read_varint_32(body, &mut at)?;
    at += 1; // The attributes.
    // A timestamp delta is the one number that may have 64 bits.
    read_varint(body, &mut at)?;
    let offset_delta = read_varint_32(body, &mut at)?;
    skip_nullable(body, &mut at)?;
    let value = skip_nullable(body, &mut at)?;
    let written = Written {
        offset_delta,
        value,
    };
    // Most records have no headers.
    if body.get(at..) == Some(&[0]) {
        return Some(written);
    }
    let mut again = start;
    let record = read_record(section, &mut again).ok()?;
    record.headers.are_well_formed().then_some(written)
}

/// Moves `*at` behind what may be null; where it stands.
#[inline]
fn skip_nullable(bytes: &[u8], at: &mut usize) -> Option<Range<usize>> {
    match read_varint_32(bytes, at)? {
        -1 => Some(*at..*at),
        length => {
            let start = *at;
            *at = at.checked_add(usize::try_from(length).ok()?)?;
            Some(start..*at)
        }
    }
}

/// Moves `*position` behind the record there, reading nothing but its length.
#[inline]
fn skip_record(section: &[u8], position: &mut usize) -> Result<(), MalformedRecord> {
    let mut at = *position;
    let length = read_varint_32(section, &mut at).and_then(|length| usize::try_from(length).ok());
    let end = length
        .and_then(|length| at.checked_add(length))
        .filter(|end| *end <= section.len())
        .ok_or(MalformedRecord)?;
    *position = end;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use thalweg_smartmodule_abi::{bitmap_bytes, bitmap_set, write_record};

    fn section(deltas: &[i64]) -> Vec<u8> {
        let mut section = Vec::new();
        for &delta in deltas {
            let value = vec![b'v'; delta as usize];
            write_record(&mut section, 0, delta, None, Some(&value), [].into_iter());
        }
        section
    }

    #[test]
    fn kept_records_are_exactly_those_whose_bit_is_set() {
        let all = [0, 1, 2, 5, 6, 7, 9, 10, 11];
        let bytes = section(&all);
        for pattern in 0_u32..1 << all.len() {
            let mut bitmap = vec![0; bitmap_bytes(all.len())];
            let chosen: Vec<_> = (0..all.len()).filter(|i| pattern >> i & 1 == 1).collect();
            for &index in &chosen {
                bitmap_set(&mut bitmap, index);
            }

            let kept = keep(&bytes, all.len(), &bitmap).unwrap();

            let expected: Vec<_> = chosen.iter().map(|&index| all[index]).collect();
            assert_eq!(kept, section(&expected));
        }
    }

    #[test]
    fn records_below_an_offset_are_found_over_gaps() {
        let bytes = section(&[0, 3, 4]);
        assert_eq!(below(&bytes, 3, 0).unwrap().record_count, 0);
        assert_eq!(below(&bytes, 3, 2).unwrap().record_count, 1);
        assert_eq!(below(&bytes, 3, 4).unwrap().record_count, 2);
        assert_eq!(
            below(&bytes, 3, 99).unwrap(),
            Place {
                bytes: bytes.len(),
                record_count: 3
            }
        );
        assert!(below(&bytes, 4, 99).is_err());
    }

    #[test]
    fn what_a_guest_wrote_must_parse_and_keep_its_offsets() {
        let bytes = section(&[1, 1, 3]);
        assert_eq!(check_written(&bytes, 3, 1, 3), Ok(()));
        assert!(check_written(&bytes, 2, 1, 3).is_err(), "too few counted");
        assert!(check_written(&bytes, 4, 1, 3).is_err(), "too many counted");
        assert!(check_written(&bytes, 3, 2, 3).is_err(), "before the input");
        assert!(check_written(&bytes, 3, 1, 2).is_err(), "after the input");
        assert!(check_written(&section(&[2, 1]), 2, 0, 9).is_err(), "back");
        assert!(check_written(&bytes[..5], 3, 1, 3).is_err(), "cut");
    }
}
