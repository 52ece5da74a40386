//! A step's pass over records: calls until all of them are dealt with, or one fails for good.
//!
//! In general that is one call. After a record that the module answered with an error for, and that
//! its step goes on without, the rest is given again; it stands in the guest's memory already. After
//! a crash the step gets a new instance, and what the call was given goes to it record by record,
//! so that the record at fault is found; the rest of the pass stays so. A step that is to stop at that
//! record gives those before it, if its module does not go by what the crashed instance had seen.

use thalweg_record::BatchHeader;
use thalweg_smartmodule_abi::{bitmap_bytes, bitmap_get, bitmap_set, read_record};
use thalweg_types::Offset;

use crate::answer_check::{check_bitmap, check_counts, check_records};
use crate::chain_error::malformed;
use crate::failed_record::Failing;
use crate::group_table::{GroupTable, TableOfCall};
use crate::guest::{Answered, Failure, Fault, Given, Purpose};
use crate::guest_memory::MemoryBound;
use crate::open_step::{Call, OpenStep};
use crate::records::{Place, advance, nth};
use crate::{ChainError, CrashedOn, GivenRecords, OnFailure, SmartModuleKind};

/// How much is kept of a message in a pass with so many that they might take all memory.
const MESSAGE_BYTES_AMONG_MANY: usize = 64;

/// The records of a section that a pass is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) start: Place,
    pub(crate) end: Place,
}

/// What a pass over a window came to.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// A filter's bitmap from the window's start on, or the records of another kind.
    pub(crate) output: Vec<u8>,
    /// How many records the output holds, or keeps.
    pub(crate) output_count: usize,
    /// The index of each record that the pass went on without.
    pub(crate) left_out: Vec<usize>,
    /// Those, as the chain is told of them.
    pub(crate) failing: Vec<Failing>,
    /// The first record that was not dealt with, where it is not the window's end.
    pub(crate) stopped_at: Option<Place>,
    /// Why it stopped there; absent when the rest is for another time.
    pub(crate) failure: Option<ChainError>,
    /// Where in the output the records of the last call that gave any start, and how many they
    /// are.
    last_call: Place,
    failing_bytes: usize,
}

/// What an aggregate goes on from in a call; empty for any other kind.
#[derive(Debug, Clone, Copy)]
enum GoesOnFrom<'a> {
    One(&'a [u8]),
    Groups(TableOfCall<'a>),
}

/// A pass of a step over parts of one section.
pub(crate) struct StepPass<'a> {
    step: &'a mut OpenStep,
    step_index: usize,
    header: &'a BatchHeader,
    section: &'a [u8],
    /// Whether the section stands in the guest's memory.
    is_in_place: bool,
    /// Whether records go in one by one, since a crash.
    is_single: bool,
    /// Whether the rest may be left for another time once there is much output.
    may_stop_early: bool,
    /// The crash whose record is looked for, where the step is to stop at it.
    crash: Option<ChainError>,
}

impl<'a> StepPass<'a> {
    pub(crate) fn new(
        step: &'a mut OpenStep,
        step_index: usize,
        header: &'a BatchHeader,
        section: &'a [u8],
        may_stop_early: bool,
    ) -> Self {
        Self {
            step,
            step_index,
            header,
            section,
            is_in_place: false,
            is_single: false,
            may_stop_early,
            crash: None,
        }
    }

    /// Puts the records of `window` through the step.
    pub(crate) fn run(&mut self, window: Window, accumulator: &[u8]) -> Result<Passed, ChainError> {
        let mut passed = Passed::default();
        let mut place = window.start;
        while place.record_count < window.end.record_count {
            let is_first = place.record_count == window.start.record_count;
            if !is_first && !self.goes_on(place, &mut passed)? {
                break;
            }
            let accumulator = passed.last_value(self.step.kind(), accumulator)?;
            let from = GoesOnFrom::One(accumulator.as_deref().unwrap_or_default());
            let end = if self.is_single {
                self.behind(place, 1)?
            } else {
                window.end
            };
            match self.advance(place, end, window, from, &mut passed)? {
                Some(next) => place = next,
                None => break,
            }
        }
        self.ended(passed)
    }

    /// Puts the records of `table` through an aggregate, with those of many groups in a call.
    pub(crate) fn run_groups(&mut self, table: &mut GroupTable<'_>) -> Result<Passed, ChainError> {
        let mut passed = Passed::default();
        let window = table.window();
        let mut place = window.start;
        while place.record_count < window.end.record_count {
            if place.record_count > 0 && !self.goes_on(place, &mut passed)? {
                break;
            }
            let count = if self.is_single {
                1
            } else {
                self.step.group_pace.record_count()
            };
            let end = table.fill(place, count, &passed.output);
            let (bytes_before, count_before) = (passed.output.len(), passed.output_count);
            let from = GoesOnFrom::Groups(table.of_call());
            let next = self.advance(place, end, window, from, &mut passed)?;
            let given_count = passed.output_count - count_before;
            table
                .take(
                    place.record_count,
                    &passed.output,
                    bytes_before,
                    given_count,
                )
                .map_err(|reason| self.step.garbage(reason))?;
            match next {
                Some(next) => place = next,
                None => break,
            }
        }
        self.ended(passed)
    }

    /// Whether there is to be another call, for what stands from `place` on; where not, `passed` says so.
    fn goes_on(&mut self, place: Place, passed: &mut Passed) -> Result<bool, ChainError> {
        if self.may_stop_early && passed.made_bytes() >= self.step.limits.output_bytes_soft() {
            passed.stopped_at = Some(place);
            return Ok(false);
        }
        if self.step.is_late() {
            if let Some(crash) = self.crash.take() {
                return Err(crash);
            }
            let late = self.step.late(self.offset_at(place)?);
            passed.fail(place, late);
            return Ok(false);
        }
        Ok(true)
    }

    fn ended(&mut self, passed: Passed) -> Result<Passed, ChainError> {
        match self.crash.take() {
            // It crashed on all of them together, and on none of them alone.
            Some(crash) if passed.stopped_at.is_none() => Err(crash),
            _ => Ok(passed),
        }
    }

    /// Calls the guest once, with the records from `place` to `end`, and takes its answer. Gives where to go on, or
    /// `None` to stop.
    fn advance(
        &mut self,
        place: Place,
        end: Place,
        window: Window,
        from: GoesOnFrom<'_>,
        passed: &mut Passed,
    ) -> Result<Option<Place>, ChainError> {
        match self.call(place, end, from, passed)? {
            Ok(answered) => self.take(place, end, window, answered, passed),
            Err(fault) => self.recover(place, end, fault, passed),
        }
    }

    /// Calls the guest with the records from `place` to `end`, and checks its answer.
    fn call(
        &mut self,
        place: Place,
        end: Place,
        from: GoesOnFrom<'_>,
        passed: &mut Passed,
    ) -> Result<Result<Answered, Fault>, ChainError> {
        let given = Given {
            section: self.section,
            is_in_place: self.is_in_place && self.step.is_open(),
            range: place.bytes..end.bytes,
            record_count: end.record_count - place.record_count,
            accumulator: from.bytes(),
            group_count: from.group_count(),
        };
        self.step.metrics.records_in += given.record_count as u64;
        let output_before = passed.output.len();
        let soft = self.step.limits.output_bytes_soft();
        let call = Call {
            purpose: from.purpose(),
            header: self.header,
            output_bytes_soft: if self.may_stop_early {
                soft.saturating_sub(passed.made_bytes())
            } else {
                soft
            },
        };
        let answered = self.step.call(call, &given, &mut passed.output)?;
        let answered = match answered {
            Ok(answered) => answered,
            Err(fault) => return Ok(Err(fault)),
        };
        self.is_in_place = true;
        self.check(place, &given, &answered, passed)?;
        let repeated_bytes = from.repeated_bytes(answered.consumed_count);
        if let Some(limit_bytes) =
            self.exceeded(place, &given, &answered, repeated_bytes, passed)?
        {
            passed.output.truncate(output_before);
            self.step.drop_guest();
            return Ok(Err(Fault::Output(limit_bytes)));
        }
        Ok(Ok(answered))
    }

    fn check(
        &self,
        place: Place,
        given: &Given<'_>,
        answered: &Answered,
        passed: &Passed,
    ) -> Result<(), ChainError> {
        if let Some(Failure::Call(message)) = &answered.failure {
            // Most likely it could not read the records, which the log does not look into.
            let mut position = given.range.start;
            for index in 0..given.record_count {
                read_record(self.section, &mut position).map_err(|_| malformed(index))?;
            }
            return Err(self.step.error_of(Fault::Trapped(message.clone())));
        }
        let kind = self.step.kind();
        let output = &passed.output[answered.output.clone()];
        check_counts(kind, answered, given.record_count)
            .and_then(|()| match kind {
                SmartModuleKind::Filter => check_bitmap(answered, output),
                // The table knows which offset each record is to have.
                _ if given.group_count > 0 => Ok(()),
                _ => check_records(answered, output, self.section, place),
            })
            .map_err(|reason| self.step.garbage(reason))
    }

    /// The bound on what may come of the records dealt with, if it is passed.
    fn exceeded(
        &self,
        place: Place,
        given: &Given<'_>,
        answered: &Answered,
        repeated_bytes: usize,
        passed: &Passed,
    ) -> Result<Option<usize>, ChainError> {
        let limits = self.step.limits;
        if passed.output.len() > limits.output_bytes {
            // Of many calls together, so that none of the records is to blame.
            return Err(self.step.error_of(Fault::Output(limits.output_bytes)));
        }
        // Most answers are small enough whatever the records were.
        if answered.output.len() <= limits.output_bytes_of(0) {
            return Ok(None);
        }
        let consumed_bytes = if answered.consumed_count == given.record_count {
            given.range.len()
        } else {
            self.behind(place, answered.consumed_count)?.bytes - place.bytes
        };
        let limit_bytes = limits.output_bytes_of(consumed_bytes + repeated_bytes);
        Ok((answered.output.len() > limit_bytes).then_some(limit_bytes))
    }

    /// Takes what the guest made of the records from `place` on.
    fn take(
        &mut self,
        place: Place,
        end: Place,
        window: Window,
        answered: Answered,
        passed: &mut Passed,
    ) -> Result<Option<Place>, ChainError> {
        self.step.metrics.records_out += answered.output_count as u64;
        let is_filter = self.step.kind() == SmartModuleKind::Filter;
        if is_filter && place.record_count > window.start.record_count {
            passed.append_bits(place.record_count - window.start.record_count, &answered);
        }
        if answered.output_count > 0 {
            passed.last_call = Place {
                bytes: answered.output.start,
                record_count: answered.output_count,
            };
        }
        passed.output_count += answered.output_count;
        let asked_count = end.record_count - place.record_count;
        if answered.consumed_count == asked_count {
            return Ok(Some(end));
        }
        let next = self.behind(place, answered.consumed_count)?;
        let Some(Failure::Record(message)) = answered.failure else {
            return Ok(Some(next));
        };
        self.step.metrics.errors += 1;
        if self.step.on_failure() != OnFailure::Stop {
            return self.leave_out(next, message, passed).map(Some);
        }
        let failed = self.record_at(next)?;
        let failure = ChainError::Guest {
            step: self.step.name().to_owned(),
            offset: self.header.base_offset.plus(failed.offset_delta),
            key: failed.key.map(<[u8]>::to_vec),
            message,
        };
        passed.fail(next, failure);
        Ok(None)
    }

    /// After a fault of a call with the records from `place` to `end`: finds the one at fault, or
    /// leaves it out when it is found.
    fn recover(
        &mut self,
        place: Place,
        end: Place,
        fault: Fault,
        passed: &mut Passed,
    ) -> Result<Option<Place>, ChainError> {
        let may_be_a_records = match fault {
            Fault::Deadline | Fault::Output(_) | Fault::Trapped(_) => true,
            Fault::Memory(bound) => bound == MemoryBound::Own,
            Fault::Starved(_) | Fault::Garbage(_) | Fault::Instantiate(_) => false,
        };
        let is_crash = matches!(fault, Fault::Trapped(_));
        let error = self.step.error_of(fault);
        let stops = self.step.on_failure() == OnFailure::Stop;
        if !may_be_a_records || (stops && !is_crash) {
            return Err(self.over_records(error, place, end));
        }
        self.is_in_place = false;
        let message = error.to_string();
        if let Err(too_many) = self.step.crashed(self.offset_at(place)?, &message) {
            passed.fail(place, too_many);
            return Ok(None);
        }
        let is_single = end.record_count - place.record_count == 1;
        match (is_single, stops) {
            (true, true) => self.stop_at(place, error, passed).map(|()| None),
            (true, false) => self.leave_out(place, message, passed).map(Some),
            (false, _) => {
                self.is_single = true;
                self.crash = stops.then_some(error);
                Ok(Some(place))
            }
        }
    }

    /// Has an error say which records the call was given, where it is one of their call.
    fn over_records(&self, mut error: ChainError, place: Place, end: Place) -> ChainError {
        if let ChainError::DeadlineExceeded { given, .. }
        | ChainError::Starved { given, .. }
        | ChainError::MemoryExceeded { given, .. }
        | ChainError::OutputExceeded { given, .. } = &mut error
        {
            // Where they do not parse that is for whoever reads them next to say.
            *given = self.given(place, end).ok();
        }
        error
    }

    fn given(&self, place: Place, end: Place) -> Result<GivenRecords, ChainError> {
        let last = self.behind(place, end.record_count - place.record_count - 1)?;
        Ok(GivenRecords {
            first: self.offset_at(place)?,
            last: self.offset_at(last)?,
            first_key: self.record_at(place)?.key.map(<[u8]>::to_vec),
        })
    }

    /// Ends the pass at the record at `place`, which the module crashed on.
    fn stop_at(
        &mut self,
        place: Place,
        mut crash: ChainError,
        passed: &mut Passed,
    ) -> Result<(), ChainError> {
        let found = self.record_at(place)?;
        let (delta, key) = (found.offset_delta, found.key.map(<[u8]>::to_vec));
        if let ChainError::Trapped { record, .. } = &mut crash {
            let offset = self.header.base_offset.plus(delta);
            *record = Some(CrashedOn { offset, key });
        }
        // The new instance has not seen what the crashed one had, so its answers do not count.
        if self.crash.take().is_some() && self.step.looks_back() {
            return Err(crash);
        }
        passed.fail(place, crash);
        Ok(())
    }

    /// Goes on behind the record at `place`, which failed.
    fn leave_out(
        &self,
        place: Place,
        mut message: String,
        passed: &mut Passed,
    ) -> Result<Place, ChainError> {
        let next = self.behind(place, 1)?;
        if passed.failing_bytes >= self.step.limits.output_bytes_soft() {
            message.truncate(message.floor_char_boundary(MESSAGE_BYTES_AMONG_MANY));
        }
        passed.failing_bytes += message.len();
        if self.step.on_failure() == OnFailure::DeadLetter {
            passed.failing_bytes += next.bytes - place.bytes;
        }
        passed.left_out.push(place.record_count);
        passed.failing.push(Failing {
            step: self.step_index,
            offset_delta: self.record_at(place)?.offset_delta,
            message,
        });
        Ok(next)
    }

    fn behind(&self, place: Place, record_count: usize) -> Result<Place, ChainError> {
        advance(self.section, place, record_count).map_err(|_| malformed(place.record_count))
    }

    fn record_at(
        &self,
        place: Place,
    ) -> Result<thalweg_smartmodule_abi::RawRecord<'a>, ChainError> {
        let mut position = place.bytes;
        read_record(self.section, &mut position).map_err(|_| malformed(place.record_count))
    }

    fn offset_at(&self, place: Place) -> Result<Offset, ChainError> {
        let record = self.record_at(place)?;
        Ok(self.header.base_offset.plus(record.offset_delta))
    }
}

impl GoesOnFrom<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::One(accumulator) => accumulator,
            Self::Groups(table) => table.bytes,
        }
    }

    fn group_count(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Groups(table) => table.group_count,
        }
    }

    fn purpose(&self) -> Purpose {
        match self {
            Self::One(_) => Purpose::Records,
            Self::Groups(_) => Purpose::Groups,
        }
    }

    /// What an aggregate's records have at least, as each repeats an accumulator.
    fn repeated_bytes(&self, record_count: usize) -> usize {
        match self {
            Self::One(accumulator) => accumulator.len() * record_count,
            Self::Groups(table) => table.repeated_bytes,
        }
    }
}

impl Passed {
    fn made_bytes(&self) -> usize {
        self.output.len() + self.failing_bytes
    }

    fn fail(&mut self, place: Place, failure: ChainError) {
        self.stopped_at = Some(place);
        self.failure = Some(failure);
    }

    /// What an aggregate goes on from after the calls so far: the value of the last record that it
    /// gave, or `initial`.
    pub(crate) fn last_value(
        &self,
        kind: SmartModuleKind,
        initial: &[u8],
    ) -> Result<Option<Vec<u8>>, ChainError> {
        if kind != SmartModuleKind::Aggregate {
            return Ok(None);
        }
        if self.last_call.record_count == 0 {
            return Ok(Some(initial.to_vec()));
        }
        let written = &self.output[self.last_call.bytes..];
        let last = nth(written, self.last_call.record_count - 1).map_err(|_| malformed(0))?;
        Ok(Some(last.value.unwrap_or_default().to_vec()))
    }

    /// Moves the bitmap of the last call, which stands at the end of the output, to where its
    /// records begin: at bit `start`.
    fn append_bits(&mut self, start: usize, answered: &Answered) {
        let bits = self.output.split_off(answered.output.start);
        let bitmap = &mut self.output;
        bitmap.resize(bitmap_bytes(start + answered.consumed_count), 0);
        for index in 0..answered.consumed_count {
            if bitmap_get(&bits, index) {
                bitmap_set(bitmap, start + index);
            }
        }
    }
}
