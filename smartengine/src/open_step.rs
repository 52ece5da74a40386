//! One step of a chain: a guest of its own, opened again after it crashed where the step goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{FLAG_LOG_APPEND_TIME, InputHeader, write_params};
use thalweg_types::{Offset, TimestampType};

use crate::chain_error::malformed;
use crate::deadline::now;
use crate::group_pace::GroupPace;
use crate::guest::{Answered, Failure, Fault, Given, Guest, GuestHost, Purpose};
use crate::guest_memory::MemoryBound;
use crate::host_imports::HostState;
use crate::key_values::{KeyValues, Mark};
use crate::limits::CRASHES_PER_BATCH;
use crate::records::{Place, advance, nth};
use crate::stopwatch::Stopwatch;
use crate::{CallLimits, ChainError, HostServices, OnFailure, SmartModuleKind, Step, StepMetrics};

/// A step whose guest runs.
pub(crate) struct OpenStep {
    host: Arc<GuestHost>,
    step: Step,
    services: StepServices,
    pub(crate) limits: CallLimits,
    /// Absent after a crash, until it is needed again.
    guest: Option<Guest>,
    /// What its module kept before the last call.
    kept_before_call: Mark,
    /// Whether it is an aggregate that can be given the records of many groups in a call.
    takes_groups: bool,
    pub(crate) group_pace: GroupPace,
    batch: BatchBudget,
    pub(crate) metrics: StepMetrics,
}

/// What a step's guests may use.
#[derive(Debug, Clone)]
pub(crate) struct StepServices {
    pub(crate) offered: HostServices,
    pub(crate) key_values: Option<Arc<KeyValues>>,
    /// Whether a guest has asked something that is not answered yet. All guests run on one thread at a time.
    pub(crate) waits: Arc<AtomicBool>,
}

/// What is the same for all of a pass's calls.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) header: &'a BatchHeader,
    /// Once its output has so many bytes, the guest should leave the rest for another call.
    pub(crate) output_bytes_soft: usize,
}

/// What the step has used up of what it may for one batch.
struct BatchBudget {
    began: Stopwatch,
    crashes: u32,
}

impl BatchBudget {
    fn new() -> Self {
        Self {
            began: Stopwatch::start(),
            crashes: 0,
        }
    }
}

impl OpenStep {
    pub(crate) fn open(
        host: &Arc<GuestHost>,
        step: Step,
        limits: CallLimits,
        services: StepServices,
    ) -> Result<Self, ChainError> {
        let mut open = Self {
            host: Arc::clone(host),
            step,
            services,
            limits,
            guest: None,
            kept_before_call: Mark::default(),
            takes_groups: false,
            group_pace: GroupPace::default(),
            batch: BatchBudget::new(),
            metrics: StepMetrics::default(),
        };
        open.begin_batch();
        let guest = open.new_guest()?;
        if open.step.look_back.is_some() && !guest.looks_back() {
            return Err(ChainError::LookBackNotOffered {
                step: open.step.name,
            });
        }
        open.takes_groups = guest.takes_groups();
        open.guest = Some(guest);
        Ok(open)
    }

    /// Instantiates the module and runs its `init`.
    fn new_guest(&self) -> Result<Guest, ChainError> {
        let refuse = |message: String| ChainError::Init {
            step: self.step.name.clone(),
            message,
        };
        let state = HostState::new(self.step.name.clone(), self.services.clone());
        let opened = Guest::open(&self.host, &self.step.module, state, self.limits);
        let mut guest = opened.map_err(|fault| self.error_of(fault))?;
        let params = &self.step.params;
        if let Some(param) = params.keys().next().filter(|_| !guest.has_init()) {
            return Err(refuse(format!(
                "it takes no parameters, but was given `{param}`; a module takes them in a function with #[smartmodule(init)]"
            )));
        }
        let params = write_params(params.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        match guest.init(&params) {
            Ok(answered) => answered.map_err(refuse)?,
            Err(fault) => return Err(self.error_of(fault)),
        }
        Ok(guest)
    }

    pub(crate) fn kind(&self) -> SmartModuleKind {
        self.step.module.kind()
    }

    pub(crate) fn name(&self) -> &str {
        &self.step.name
    }

    pub(crate) fn on_failure(&self) -> OnFailure {
        self.step.on_failure
    }

    /// Whether it goes by what it has seen: an instance that was opened anew does not know it.
    pub(crate) fn looks_back(&self) -> bool {
        self.step.module.looks_back()
    }

    /// Whether it is an aggregate that can be given the records of many groups in a call.
    pub(crate) fn takes_groups(&self) -> bool {
        self.takes_groups
    }

    pub(crate) fn look_back(&self) -> Option<thalweg_types::LookBack> {
        self.step.look_back
    }

    /// How large its instance's linear memory is, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.guest.as_ref().map_or(0, Guest::memory_bytes)
    }

    /// Gives the step what it may use for another batch.
    pub(crate) fn begin_batch(&mut self) {
        self.batch = BatchBudget::new();
    }

    /// Whether the step has used up its time for the batch.
    pub(crate) fn is_late(&self) -> bool {
        let elapsed = self.batch.began.elapsed();
        let had_its_time = || self.batch.began.processor() >= self.limits.batch_deadline();
        // The clock is looked at first, which costs less.
        elapsed >= self.limits.batch_deadline()
            && (had_its_time() || elapsed >= self.limits.batch_patience())
    }

    /// The error of a step that is late.
    pub(crate) fn late(&self, offset: Offset) -> ChainError {
        ChainError::BatchDeadlineExceeded {
            step: self.step.name.clone(),
            offset,
            limit_ms: as_ms(self.limits.batch_deadline()),
        }
    }

    /// Counts a crash; an error when it was one too many.
    pub(crate) fn crashed(&mut self, offset: Offset, message: &str) -> Result<(), ChainError> {
        self.batch.crashes += 1;
        if self.batch.crashes < CRASHES_PER_BATCH {
            return Ok(());
        }
        Err(ChainError::TooManyCrashes {
            step: self.step.name.clone(),
            offset,
            crashes: self.batch.crashes,
            message: message.to_owned(),
        })
    }

    /// Whether the guest of an earlier call is still there.
    pub(crate) fn is_open(&self) -> bool {
        self.guest.is_some()
    }

    /// Calls the guest, which is opened anew if it crashed before. A guest that faults is dropped.
    pub(crate) fn call(
        &mut self,
        call: Call<'_>,
        given: &Given<'_>,
        output: &mut Vec<u8>,
    ) -> Result<Result<Answered, Fault>, ChainError> {
        let mut guest = match self.guest.take() {
            Some(guest) => guest,
            None => self.new_guest()?,
        };
        if let Some(kept) = &self.services.key_values {
            self.kept_before_call = kept.mark();
        }
        let started = now();
        let header = input_header(call.header, call.output_bytes_soft);
        let answered = guest.call(call.purpose, header, given, output);
        let took = now().saturating_duration_since(started);
        self.metrics.time += took;
        if matches!(call.purpose, Purpose::Groups) {
            let has_failed = match &answered {
                Ok(answered) => answered.failure.is_some(),
                Err(_) => true,
            };
            let deadline = self.limits.deadline;
            self.group_pace
                .learn(given.record_count, took, deadline, has_failed);
        }
        self.metrics.calls += 1;
        let is_answered = answered.is_ok();
        if is_answered {
            self.guest = Some(guest);
        }
        if self.services.waits.swap(false, Ordering::Relaxed) {
            // Whatever it answered counts for nothing: it goes over the same records again.
            return Err(ChainError::AwaitsCalls);
        }
        if !is_answered {
            self.undo_call();
        }
        Ok(answered)
    }

    /// Drops the guest, whose answer is not to be trusted.
    pub(crate) fn drop_guest(&mut self) {
        self.guest = None;
        self.undo_call();
    }

    /// Counts a call that failed, and undoes what it kept: records of it are given again.
    fn undo_call(&mut self) {
        self.metrics.errors += 1;
        if let Some(kept) = &self.services.key_values {
            kept.undo(self.kept_before_call);
        }
    }

    /// Shows `record_count` records of `section` to the module's `look_back`.
    pub(crate) fn show(
        &mut self,
        header: &BatchHeader,
        section: &[u8],
        record_count: usize,
    ) -> Result<(), ChainError> {
        let offset_at = |index: usize| -> Result<Offset, ChainError> {
            let record = nth(section, index).map_err(|_| malformed(index))?;
            Ok(header.base_offset.plus(record.offset_delta))
        };
        let failed = |step: &Self, index: usize, message: String| match offset_at(index) {
            Err(error) => error,
            Ok(offset) => ChainError::LookBack {
                step: step.step.name.clone(),
                offset,
                message,
            },
        };
        let mut place = Place::default();
        while place.record_count < record_count {
            if self.is_late() {
                return Err(self.late(offset_at(place.record_count)?));
            }
            let given = Given {
                section,
                is_in_place: place.record_count > 0,
                range: place.bytes..section.len(),
                record_count: record_count - place.record_count,
                accumulator: &[],
                group_count: 0,
            };
            let call = Call {
                purpose: Purpose::LookBack,
                header,
                output_bytes_soft: self.limits.output_bytes_soft(),
            };
            let answered = match self.call(call, &given, &mut Vec::new())? {
                Ok(answered) => answered,
                Err(fault) => {
                    let message = self.error_of(fault).to_string();
                    return Err(failed(self, place.record_count, message));
                }
            };
            let reached = place.record_count + answered.consumed_count;
            match answered.failure {
                Some(Failure::Record(message) | Failure::Call(message)) => {
                    return Err(failed(self, reached, message));
                }
                None if answered.consumed_count == 0 => {
                    return Err(self.garbage("it consumed no record".to_owned()));
                }
                None => {}
            }
            place = advance(section, place, answered.consumed_count)
                .map_err(|_| malformed(place.record_count))?;
        }
        Ok(())
    }

    pub(crate) fn garbage(&self, reason: String) -> ChainError {
        self.error_of(Fault::Garbage(reason))
    }

    /// What a fault means to the stream.
    pub(crate) fn error_of(&self, fault: Fault) -> ChainError {
        let (step, limits) = (self.step.name.clone(), self.limits);
        match fault {
            Fault::Deadline => ChainError::DeadlineExceeded {
                step,
                deadline_ms: as_ms(limits.deadline),
                given: None,
            },
            Fault::Starved(waited) => ChainError::Starved {
                step,
                waited_ms: as_ms(waited),
                deadline_ms: as_ms(limits.deadline),
                given: None,
            },
            Fault::Memory(MemoryBound::Own) => ChainError::MemoryExceeded {
                step,
                limit_bytes: limits.memory_bytes,
                given: None,
            },
            Fault::Memory(MemoryBound::Shared) => ChainError::MemoryUsedUp { step },
            Fault::Output(limit_bytes) => ChainError::OutputExceeded {
                step,
                limit_bytes,
                given: None,
            },
            Fault::Trapped(message) => ChainError::Trapped {
                step,
                record: None,
                message,
            },
            Fault::Garbage(reason) => ChainError::BadOutput { step, reason },
            Fault::Instantiate(reason) => ChainError::Instantiate { step, reason },
        }
    }
}

/// What every call says about the batch that its records are of.
fn input_header(header: &BatchHeader, output_bytes_soft: usize) -> InputHeader {
    let log_append_time = header.timestamp_type() == TimestampType::LogAppendTime;
    InputHeader {
        base_offset: header.base_offset.0,
        base_timestamp_ms: header.base_timestamp_ms,
        flags: if log_append_time {
            FLAG_LOG_APPEND_TIME
        } else {
            0
        },
        output_bytes_soft: u32::try_from(output_bytes_soft).unwrap_or(u32::MAX),
        log_append_time_ms: if log_append_time {
            header.max_timestamp_ms
        } else {
            0
        },
        ..InputHeader::default()
    }
}

fn as_ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
