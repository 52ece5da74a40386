//! One step of a chain: a guest of its own, its answers checked against its kind.

use std::borrow::Cow;

use thalweg_record::{BatchError, BatchHeader};
use thalweg_smartmodule_abi::{
    FLAG_LOG_APPEND_TIME, InputHeader, bitmap_bytes, read_record, write_params,
};
use thalweg_types::TimestampType;

use crate::guest::{Answered, Failure, Fault, Guest, GuestHost};
use crate::guest_memory::MemoryBound;
use crate::records::{below, check_written, keep, nth, prefix_bytes};
use crate::{CallLimits, ChainError, SmartModuleKind, Step};

/// A step whose guest runs.
pub(crate) struct OpenStep {
    guest: Guest,
    pub(crate) kind: SmartModuleKind,
    pub(crate) name: String,
}

/// Records on their way through the chain.
#[derive(Clone)]
pub(crate) struct Passing<'a> {
    pub(crate) section: Cow<'a, [u8]>,
    pub(crate) record_count: usize,
}

/// What one step made of the records it was given.
pub(crate) struct Stepped<'a> {
    pub(crate) passing: Passing<'a>,
    /// The offset delta of the first input record that was not dealt with.
    pub(crate) stopped_at: Option<i64>,
    pub(crate) failure: Option<ChainError>,
}

impl OpenStep {
    pub(crate) fn open(
        host: &GuestHost,
        step: Step,
        limits: CallLimits,
    ) -> Result<Self, ChainError> {
        let name = step.name;
        let guest = Guest::open(host, &step.module, &name, limits);
        let mut guest = guest.map_err(|fault| chain_error(fault, &name, limits))?;
        if let Some(param) = step.params.keys().next().filter(|_| !guest.has_init()) {
            return Err(ChainError::Init {
                message: format!(
                    "it takes no parameters, but was given `{param}`; a module takes them in a function with #[smartmodule(init)]"
                ),
                step: name,
            });
        }
        let params = write_params(step.params.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        match guest.init(&params) {
            Ok(Ok(())) => {}
            Ok(Err(message)) => {
                return Err(ChainError::Init {
                    step: name,
                    message,
                });
            }
            Err(fault) => return Err(chain_error(fault, &name, limits)),
        }
        Ok(Self {
            guest,
            kind: step.module.kind(),
            name,
        })
    }

    /// How large its instance's linear memory is, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.guest.memory_bytes()
    }

    /// Runs the step over `input`. The first step may stop early and leave the rest of the batch
    /// for another time; a later one may not, as the earlier ones have dealt with its input
    /// already.
    pub(crate) fn run<'a>(
        &mut self,
        header: &BatchHeader,
        input: Passing<'a>,
        accumulator: &[u8],
        limits: CallLimits,
        is_first: bool,
    ) -> Result<Stepped<'a>, ChainError> {
        let (mut whole, mut rest) = self.call(header, input, accumulator, limits)?;
        while let Some(input) = rest.take().filter(|_| !is_first) {
            let accumulator = self.last_value(&whole.passing, accumulator)?;
            let (more, left) = self.call(header, input, &accumulator, limits)?;
            let section = whole.passing.section.to_mut();
            section.extend_from_slice(&more.passing.section);
            if section.len() > limits.output_bytes {
                return Err(chain_error(Fault::Output, &self.name, limits));
            }
            whole.passing.record_count += more.passing.record_count;
            whole.stopped_at = more.stopped_at;
            whole.failure = more.failure;
            rest = left;
        }
        if whole.failure.is_some() {
            cut(&mut whole)?;
        }
        Ok(whole)
    }

    fn last_value(&self, passing: &Passing<'_>, before: &[u8]) -> Result<Vec<u8>, ChainError> {
        if self.kind != SmartModuleKind::Aggregate || passing.record_count == 0 {
            return Ok(before.to_vec());
        }
        let last = nth(&passing.section, passing.record_count - 1).map_err(|_| malformed(0))?;
        Ok(last.value.unwrap_or_default().to_vec())
    }

    /// Calls the guest once; gives what it made, and what it left when it stopped early.
    fn call<'a>(
        &mut self,
        header: &BatchHeader,
        input: Passing<'a>,
        accumulator: &[u8],
        limits: CallLimits,
    ) -> Result<(Stepped<'a>, Option<Passing<'a>>), ChainError> {
        let answered = self
            .guest
            .call(
                input_header(header, &input, limits),
                &input.section,
                accumulator,
            )
            .map_err(|fault| chain_error(fault, &self.name, limits))?;
        self.check_answer(&answered, &input)?;

        let consumed = answered.consumed_count;
        let mut stepped = Stepped {
            stopped_at: None,
            failure: None,
            passing: Passing {
                section: Cow::Borrowed(&[]),
                record_count: answered.output_count,
            },
        };
        let mut rest = None;
        if let Some(Failure::Record(message)) = &answered.failure {
            let failed = nth(&input.section, consumed).map_err(|_| malformed(consumed))?;
            stepped.stopped_at = Some(failed.offset_delta);
            stepped.failure = Some(ChainError::Guest {
                step: self.name.clone(),
                offset: header.base_offset.plus(failed.offset_delta),
                key: failed.key.map(<[u8]>::to_vec),
                message: message.clone(),
            });
        } else if consumed < input.record_count {
            rest = Some(self.rest(&input, consumed)?);
            let next = nth(&input.section, consumed).map_err(|_| malformed(consumed))?;
            stepped.stopped_at = Some(next.offset_delta);
        }
        stepped.passing = match self.kind {
            SmartModuleKind::Filter => kept(input, &answered)?,
            _ => self.written(&input, answered)?,
        };
        Ok((stepped, rest))
    }

    fn rest(&self, input: &Passing<'_>, consumed: usize) -> Result<Passing<'static>, ChainError> {
        let start = prefix_bytes(&input.section, consumed).map_err(|_| malformed(consumed))?;
        Ok(Passing {
            section: Cow::Owned(input.section[start..].to_vec()),
            record_count: input.record_count - consumed,
        })
    }

    fn garbage(&self, reason: String) -> ChainError {
        ChainError::BadOutput {
            step: self.name.clone(),
            reason,
        }
    }

    /// Checks the counts of an answer against the kind.
    fn check_answer(&self, answered: &Answered, input: &Passing<'_>) -> Result<(), ChainError> {
        if let Some(Failure::Call(message)) = &answered.failure {
            // Most likely it could not read the records, which the log does not look into.
            check_readable(input)?;
            return Err(ChainError::Trapped {
                step: self.name.clone(),
                message: message.clone(),
            });
        }
        let consumed = answered.consumed_count;
        if consumed == 0 && answered.failure.is_none() {
            return Err(self.garbage("it consumed no record".to_owned()));
        }
        let count = answered.output_count;
        let fits = match self.kind {
            SmartModuleKind::Filter => {
                return self.check_bitmap(answered, input.record_count);
            }
            SmartModuleKind::Map | SmartModuleKind::Aggregate => count == consumed,
            SmartModuleKind::FilterMap => count <= consumed,
            SmartModuleKind::ArrayMap => true,
        };
        if !fits {
            return Err(self.garbage(format!(
                "a {} of {consumed} records gave {count}",
                self.kind
            )));
        }
        Ok(())
    }

    fn check_bitmap(&self, answered: &Answered, record_count: usize) -> Result<(), ChainError> {
        if answered.failure.is_none() && answered.consumed_count != record_count {
            return Err(self.garbage(format!(
                "a filter consumed {} of {record_count} records without a failure",
                answered.consumed_count
            )));
        }
        let expected_bytes = bitmap_bytes(answered.consumed_count);
        if answered.output.len() != expected_bytes {
            return Err(self.garbage(format!(
                "a filter's bitmap for {} records has {} bytes instead of {expected_bytes}",
                answered.consumed_count,
                answered.output.len()
            )));
        }
        let kept: usize = answered
            .output
            .iter()
            .map(|byte| byte.count_ones() as usize)
            .sum();
        let spare_bits = expected_bytes * 8 - answered.consumed_count;
        let stray = answered
            .output
            .last()
            .is_some_and(|&last| spare_bits > 0 && last >> (8 - spare_bits) != 0);
        if stray || kept != answered.output_count {
            return Err(self.garbage(format!(
                "a filter's bitmap keeps {kept} records, its answer says {}",
                answered.output_count
            )));
        }
        Ok(())
    }

    /// What a guest of another kind than filter wrote, checked.
    fn written(
        &self,
        input: &Passing<'_>,
        answered: Answered,
    ) -> Result<Passing<'static>, ChainError> {
        let passing = Passing {
            section: Cow::Owned(answered.output),
            record_count: answered.output_count,
        };
        if passing.record_count > 0 {
            let (first, last) = delta_range(input, answered.consumed_count)?;
            check_written(&passing.section, passing.record_count, first, last)
                .map_err(|reason| self.garbage(reason))?;
        } else if !passing.section.is_empty() {
            return Err(self.garbage("its output holds bytes but no records".to_owned()));
        }
        Ok(passing)
    }
}

/// Checks that every record of the input parses.
fn check_readable(input: &Passing<'_>) -> Result<(), ChainError> {
    let mut position = 0;
    for index in 0..input.record_count {
        read_record(&input.section, &mut position).map_err(|_| malformed(index))?;
    }
    Ok(())
}

/// The offset deltas of the first and the last of the first `count` records.
fn delta_range(input: &Passing<'_>, count: usize) -> Result<(i64, i64), ChainError> {
    let mut position = 0;
    let mut range = None;
    for index in 0..count {
        let record = read_record(&input.section, &mut position).map_err(|_| malformed(index))?;
        let first = range.map_or(record.offset_delta, |(first, _)| first);
        range = Some((first, record.offset_delta));
    }
    range.ok_or_else(|| malformed(0))
}

/// The records that a filter kept. Nothing is copied when it kept all, nor walked when none.
fn kept<'a>(input: Passing<'a>, answered: &Answered) -> Result<Passing<'a>, ChainError> {
    let record_count = answered.output_count;
    let section = if record_count == 0 {
        Cow::Borrowed(&[][..])
    } else if record_count == input.record_count {
        input.section
    } else {
        let kept = keep(&input.section, answered.consumed_count, &answered.output)
            .map_err(|_| malformed(0))?;
        Cow::Owned(kept)
    };
    Ok(Passing {
        section,
        record_count,
    })
}

/// Cuts what a step made down to what lies before the record it failed at: an earlier step may
/// have made several records of one offset, and an offset comes out whole or not at all.
fn cut(stepped: &mut Stepped<'_>) -> Result<(), ChainError> {
    let Some(end) = stepped.stopped_at else {
        return Ok(());
    };
    let passing = &mut stepped.passing;
    let extent = below(&passing.section, passing.record_count, end).map_err(|_| malformed(0))?;
    passing.section.to_mut().truncate(extent.bytes);
    passing.record_count = extent.record_count;
    Ok(())
}

fn input_header(header: &BatchHeader, input: &Passing<'_>, limits: CallLimits) -> InputHeader {
    let log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    InputHeader {
        base_offset: header.base_offset.0,
        base_timestamp_ms: header.base_timestamp_ms,
        record_count: u32::try_from(input.record_count).unwrap_or(u32::MAX),
        flags: if log_append_time {
            FLAG_LOG_APPEND_TIME
        } else {
            0
        },
        // Half the bound, so that the record which passes it has as much again.
        output_bytes_soft: u32::try_from(limits.output_bytes / 2).unwrap_or(u32::MAX),
        log_append_time_ms: if log_append_time {
            header.max_timestamp_ms
        } else {
            0
        },
        ..InputHeader::default()
    }
}

fn chain_error(fault: Fault, step: &str, limits: CallLimits) -> ChainError {
    let step = step.to_owned();
    match fault {
        Fault::Deadline => ChainError::DeadlineExceeded {
            step,
            deadline_ms: u64::try_from(limits.deadline.as_millis()).unwrap_or(u64::MAX),
        },
        Fault::Memory(MemoryBound::Own) => ChainError::MemoryExceeded {
            step,
            limit_bytes: limits.memory_bytes,
        },
        Fault::Memory(MemoryBound::Shared) => ChainError::MemoryUsedUp { step },
        Fault::Output => ChainError::OutputExceeded {
            step,
            limit_bytes: limits.output_bytes,
        },
        Fault::Trapped(message) => ChainError::Trapped { step, message },
        Fault::Garbage(reason) => ChainError::BadOutput { step, reason },
        Fault::Instantiate(reason) => ChainError::Instantiate { step, reason },
    }
}

/// The input batch's record `index` is damaged.
pub(crate) fn malformed(index: usize) -> ChainError {
    let reason = "its lengths do not fit";
    ChainError::Batch(BatchError::MalformedRecord { index, reason })
}
