//! What the generated exports call: the loop over a batch, for each kind.
//!
//! One guest runs one call at a time, so its buffers live in one thread-local and are reused from
//! call to call: the input that the host writes, the output and the message that it reads, and the
//! answer that says where they are.

use std::cell::RefCell;

use thalweg_smartmodule_abi::{
    ANSWER_BYTES, Answer, FLAGS_KNOWN, InputHeader, RawRecord, STATUS_FAILED, STATUS_OK,
    STATUS_RECORD_FAILED, bitmap_bytes, bitmap_set, read_record,
};

use crate::current::{self, Ended};
use crate::output::write_like;
use crate::params::SmartModuleExtraParams;
use crate::{Accumulator, Error, IntoOutput, Record, SmartOpt, host};

pub use crate::params::fields;
pub use thalweg_smartmodule_abi::OutputBuffer;

thread_local! {
    static BUFFERS: RefCell<Buffers> = const { RefCell::new(Buffers::new()) };
}

struct Buffers {
    input: Vec<u8>,
    output: OutputBuffer,
    message: String,
    answer: [u8; ANSWER_BYTES],
    reports_panics: bool,
}

/// Why a call ended before all its records were dealt with.
enum Stop {
    /// The record behind the consumed ones failed.
    Record(Error),
    /// The input is not what the ABI says, or a hook failed.
    Call(Error),
}

/// How far a call came.
#[derive(Default)]
struct Progress {
    consumed_count: u32,
    output_count: u32,
}

impl Buffers {
    const fn new() -> Self {
        Self {
            input: Vec::new(),
            output: OutputBuffer::new(),
            message: String::new(),
            answer: [0; ANSWER_BYTES],
            reports_panics: false,
        }
    }

    fn allocate(&mut self, bytes: usize) -> *mut u8 {
        if !self.reports_panics {
            host::report_panics();
            self.reports_panics = true;
        }
        let more = bytes.saturating_sub(self.input.len());
        if self.input.try_reserve_exact(more).is_err() {
            return std::ptr::null_mut();
        }
        self.input.resize(bytes, 0);
        self.input.as_mut_ptr()
    }

    /// Runs `call` over the input and puts down what it answers.
    fn answer(
        &mut self,
        bytes: usize,
        call: impl FnOnce(&[u8], &mut OutputBuffer, &mut Progress) -> Result<(), Stop>,
    ) -> *const u8 {
        self.output.clear();
        self.message.clear();
        let mut progress = Progress::default();
        let ended = match self.input.get(..bytes) {
            Some(input) => call(input, &mut self.output, &mut progress),
            None => Err(Stop::Call(Error::msg(
                "the input is longer than its buffer",
            ))),
        };
        let status = match ended {
            Ok(()) => STATUS_OK,
            Err(Stop::Record(error)) => {
                self.message = error.to_string();
                STATUS_RECORD_FAILED
            }
            Err(Stop::Call(error)) => {
                self.message = error.to_string();
                STATUS_FAILED
            }
        };
        let answer = Answer {
            status,
            consumed_count: progress.consumed_count,
            output_address: address(self.output.as_bytes().as_ptr()),
            output_bytes: self.output.len() as u32,
            output_count: progress.output_count,
            message_address: address(self.message.as_ptr()),
            message_bytes: self.message.len() as u32,
        };
        self.answer = answer.encode();
        self.answer.as_ptr()
    }
}

/// A guest's addresses have 32 bits; a native test reads the buffers by [`call_natively`].
fn address(pointer: *const u8) -> u32 {
    pointer.addr() as u32
}

/// What `thalweg_alloc` gives.
#[must_use]
pub fn alloc(bytes: usize) -> *mut u8 {
    BUFFERS.with_borrow_mut(|buffers| buffers.allocate(bytes))
}

/// Writes an input where the host would, and runs `call` over it: what a host does, for native
/// tests. Gives the answer, the output and the message.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn call_natively(
    input: &[u8],
    call: fn(usize) -> *const u8,
) -> (Answer, Vec<u8>, String) {
    BUFFERS.with_borrow_mut(|buffers| {
        buffers.input.clear();
        buffers.input.extend_from_slice(input);
    });
    call(input.len());
    BUFFERS.with_borrow(|buffers| {
        (
            Answer::decode(&buffers.answer),
            buffers.output.as_bytes().to_vec(),
            buffers.message.clone(),
        )
    })
}

/// What the author's function returned, with the error made one of ours.
#[inline]
pub fn returned<T, E: Into<Error>>(result: Result<T, E>) -> Result<T, Error> {
    result.map_err(Into::into)
}

/// Runs `call` over the input of `bytes` bytes that the host wrote.
fn answer(
    bytes: usize,
    call: impl FnOnce(&[u8], &mut OutputBuffer, &mut Progress) -> Result<(), Stop>,
) -> *const u8 {
    BUFFERS.with_borrow_mut(|buffers| buffers.answer(bytes, call))
}

/// Calls `each` for every record of the input, until one fails or `each` says that it is enough.
#[inline]
fn for_each_record(
    input: &[u8],
    progress: &mut Progress,
    mut each: impl FnMut(&RawRecord<'_>, &Record, &mut Progress) -> Result<Next, Error>,
) -> Result<(), Stop> {
    let (header, records) = open(input)?;
    let mut position = 0;
    for index in 0..header.record_count {
        let raw = read_record(records, &mut position)
            .map_err(|_| Stop::Call(Error::msg("a record of the batch is malformed")))?;
        // SAFETY: the record lives for this turn of the loop and is passed on by shared
        // reference, while the input is borrowed throughout.
        let record = unsafe { Record::from_input(&header, &raw) };
        current::begin(record.offset());
        let next = each(&raw, &record, progress);
        let next = match current::end(next.is_ok()) {
            Ended::Counts => next.map_err(Stop::Record)?,
            // Whatever it gave, the host takes nothing of this call.
            Ended::Waits => Next::Record,
        };
        progress.consumed_count = index + 1;
        if matches!(next, Next::Enough) {
            break;
        }
    }
    Ok(())
}

/// Whether to go on after a record.
enum Next {
    Record,
    Enough,
}

impl Next {
    /// Stops once the output has reached the bound that the host asked for.
    #[inline]
    fn while_below(output_bytes_soft: u32, output: &OutputBuffer) -> Self {
        if output.len() < output_bytes_soft as usize {
            Self::Record
        } else {
            Self::Enough
        }
    }
}

fn open(input: &[u8]) -> Result<(InputHeader, &[u8]), Stop> {
    let header = decode(input)?;
    let records = header
        .records(input)
        .ok_or_else(|| Stop::Call(Error::msg("the records lie outside the input")))?;
    Ok((header, records))
}

fn decode(input: &[u8]) -> Result<InputHeader, Stop> {
    let header = InputHeader::decode(input)
        .ok_or_else(|| Stop::Call(Error::msg("the input is shorter than its header")))?;
    let unknown = header.flags & !FLAGS_KNOWN;
    if unknown != 0 {
        return Err(Stop::Call(crate::eyre!(
            "the host asks for {unknown:#x}, which this SDK does not know: rebuild with a newer one"
        )));
    }
    Ok(header)
}

/// The export of a filter.
pub fn filter(bytes: usize, keep: impl Fn(&Record) -> Result<bool, Error>) -> *const u8 {
    answer(bytes, |input, bitmap, progress| {
        let record_count = decode(input)?.record_count as usize;
        let bits = bitmap.append_zeroes(bitmap_bytes(record_count));
        let ended = for_each_record(input, progress, |_, record, progress| {
            if keep(record)? {
                bitmap_set(bits, progress.consumed_count as usize);
                progress.output_count += 1;
            }
            Ok(Next::Record)
        });
        bitmap.truncate(bitmap_bytes(progress.consumed_count as usize));
        ended
    })
}

/// A record of the input, with how it was encoded.
#[derive(Debug, Clone, Copy)]
pub struct At<'r> {
    pub record: &'r Record,
    raw: &'r RawRecord<'r>,
}

/// The export of a map, a filter_map or an array_map: `write` appends any number of records for
/// each of the input's, and says how many. It is made of the author's function and of one of
/// [`one`], [`at_most_one`] and [`several`], so that outputs may borrow from the record.
pub fn write(
    bytes: usize,
    write: impl Fn(At<'_>, &mut OutputBuffer) -> Result<u32, Error>,
) -> *const u8 {
    answer(bytes, |input, output, progress| {
        let output_bytes_soft = decode(input)?.output_bytes_soft;
        for_each_record(input, progress, |raw, record, progress| {
            let whole_bytes = output.len();
            progress.output_count += write(At { record, raw }, output).inspect_err(|_| {
                // An array_map may fail after some of its outputs, which the host does not expect.
                output.truncate(whole_bytes);
            })?;
            Ok(Next::while_below(output_bytes_soft, output))
        })
    })
}

/// Writes what a map returned.
#[inline]
pub fn one<O: IntoOutput, E: Into<Error>>(
    returned: Result<O, E>,
    at: At<'_>,
    out: &mut OutputBuffer,
) -> Result<u32, Error> {
    let output = returned.map_err(Into::into)?;
    output.write(at.raw, at.record, out)?;
    Ok(1)
}

/// Writes what a filter_map returned.
#[inline]
pub fn at_most_one<O: IntoOutput, E: Into<Error>>(
    returned: Result<Option<O>, E>,
    at: At<'_>,
    out: &mut OutputBuffer,
) -> Result<u32, Error> {
    match returned.map_err(Into::into)? {
        Some(output) => output.write(at.raw, at.record, out).map(|()| 1),
        None => Ok(0),
    }
}

/// Writes what an array_map returned.
#[inline]
pub fn several<O: IntoOutput, E: Into<Error>>(
    returned: Result<Vec<O>, E>,
    at: At<'_>,
    out: &mut OutputBuffer,
) -> Result<u32, Error> {
    let outputs = returned.map_err(Into::into)?;
    for output in &outputs {
        output.write(at.raw, at.record, out)?;
    }
    Ok(outputs.len() as u32)
}

/// The two exports of an aggregate: for the records of one group, and for those of many.
pub fn aggregate<A: Accumulator>(
    bytes: usize,
    add: impl Fn(A, &Record) -> Result<A, Error>,
) -> *const u8 {
    answer(bytes, |input, output, progress| {
        let header = decode(input)?;
        let outside = || Error::msg("the accumulator lies outside the input");
        let groups = header.groups(input).ok_or_else(|| Stop::Call(outside()))?;
        let mut accumulators = Vec::with_capacity(header.group_count.max(1) as usize);
        for accumulator in groups.accumulators() {
            let accumulator = accumulator.ok_or_else(outside).and_then(A::from_bytes);
            accumulators.push(accumulator.map_err(Stop::Call)?);
        }
        for_each_record(input, progress, |raw, record, progress| {
            let group = groups.of_record(progress.consumed_count as usize);
            let accumulator = accumulators.get_mut(group).ok_or_else(outside)?;
            add_and_write(&add, accumulator, At { record, raw }, output)?;
            progress.output_count += 1;
            Ok(Next::while_below(header.output_bytes_soft, output))
        })
    })
}

/// Takes a record into the accumulator, and writes it. By itself, as the loops of an author's function
/// that is inlined into the one over the records run out of registers.
#[inline(never)]
fn add_and_write<A: Accumulator>(
    add: &impl Fn(A, &Record) -> Result<A, Error>,
    accumulator: &mut A,
    at: At<'_>,
    out: &mut OutputBuffer,
) -> Result<(), Error> {
    *accumulator = add(std::mem::take(accumulator), at.record)?;
    let value = accumulator.to_data()?.unwrap_or_default();
    write_like(at.raw, out, at.raw.key, Some(&value));
    Ok(())
}

/// The export of `init`.
pub fn init<P: SmartOpt, E: Into<Error>>(
    bytes: usize,
    init: impl FnOnce(P) -> Result<(), E>,
) -> *const u8 {
    answer(bytes, |input, _, _| {
        let params = SmartModuleExtraParams::decode(input)
            .map_err(|_| Stop::Call(Error::msg("the parameters are malformed")))?;
        let params = P::from_params(&params).map_err(|error| Stop::Call(error.into()))?;
        init(params).map_err(|error| Stop::Call(error.into()))
    })
}

/// The export of `look_back`.
pub fn look_back(bytes: usize, see: impl Fn(&Record) -> Result<(), Error>) -> *const u8 {
    answer(bytes, |input, _, progress| {
        for_each_record(input, progress, |_, record, _| {
            see(record)?;
            Ok(Next::Record)
        })
    })
}
