//! Checks of what a guest answered against what its kind allows.
//!
//! A reason, where one is given, completes "SmartModule `x` answered garbage: ".

use thalweg_smartmodule_abi::{bitmap_bytes, read_record};

use crate::SmartModuleKind;
use crate::guest::Answered;
use crate::records::{Place, advance, check_written};

/// Checks the counts of an answer about `record_count` records.
pub(crate) fn check_counts(
    kind: SmartModuleKind,
    answered: &Answered,
    record_count: usize,
) -> Result<(), String> {
    let consumed = answered.consumed_count;
    if consumed == 0 && answered.failure.is_none() {
        return Err("it consumed no record".to_owned());
    }
    let count = answered.output_count;
    let fits = match kind {
        SmartModuleKind::Filter if answered.failure.is_none() && consumed != record_count => {
            return Err(format!(
                "a filter consumed {consumed} of {record_count} records without a failure"
            ));
        }
        SmartModuleKind::Filter | SmartModuleKind::ArrayMap => true,
        SmartModuleKind::Map | SmartModuleKind::Aggregate => count == consumed,
        SmartModuleKind::FilterMap => count <= consumed,
    };
    if fits {
        return Ok(());
    }
    Err(format!("a {kind} of {consumed} records gave {count}"))
}

/// Checks a filter's bitmap.
pub(crate) fn check_bitmap(answered: &Answered, bitmap: &[u8]) -> Result<(), String> {
    let consumed = answered.consumed_count;
    let expected_bytes = bitmap_bytes(consumed);
    if bitmap.len() != expected_bytes {
        return Err(format!(
            "a filter's bitmap for {consumed} records has {} bytes instead of {expected_bytes}",
            bitmap.len()
        ));
    }
    let kept: usize = bitmap.iter().map(|byte| byte.count_ones() as usize).sum();
    let spare_bits = expected_bytes * 8 - consumed;
    let stray = bitmap
        .last()
        .is_some_and(|&last| spare_bits > 0 && last >> (8 - spare_bits) != 0);
    if stray || kept != answered.output_count {
        return Err(format!(
            "a filter's bitmap keeps {kept} records, its answer says {}",
            answered.output_count
        ));
    }
    Ok(())
}

/// Checks the records that a guest of another kind wrote for `consumed_count` records of `section`
/// from `start` on.
pub(crate) fn check_records(
    answered: &Answered,
    written: &[u8],
    section: &[u8],
    start: Place,
) -> Result<(), String> {
    if answered.output_count == 0 {
        return if written.is_empty() {
            Ok(())
        } else {
            Err("its output holds bytes but no records".to_owned())
        };
    }
    if answered.consumed_count == 0 {
        return Err("its output holds records, but it consumed none".to_owned());
    }
    // The input's records are those that the guest could read, so that they are well-formed.
    let delta_at = |mut at: usize| read_record(section, &mut at).map(|record| record.offset_delta);
    let malformed = |_| "it read records that do not parse".to_owned();
    let last = advance(section, start, answered.consumed_count - 1).map_err(malformed)?;
    let first_delta = delta_at(start.bytes).map_err(malformed)?;
    let last_delta = delta_at(last.bytes).map_err(malformed)?;
    check_written(written, answered.output_count, first_delta, last_delta)
}
