//! Running a whole module on the machine that it is written on, in `cargo test`.
//!
//! A [`Harness`] does with the module's functions what a host does with its exports: it encodes the
//! records into a batch, has the module's own loop read it and write its answer, and checks and
//! decodes that. So a test covers parameters, encoding and what is carried from record to record,
//! without WebAssembly; `thalweg smartmodule test` runs the wasm file itself.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use thalweg_smartmodule_abi::{
    Answer, INPUT_HEADER_BYTES, InputHeader, STATUS_OK, STATUS_RECORD_FAILED, bitmap_bytes,
    bitmap_get, read_record, write_params, write_record,
};

use crate::guest::call_natively;
use crate::{Record, Result, SmartModuleExtraParams, bail, http};

pub use thalweg_smartmodule_derive::harness;

/// What a host asks for: to be called again once that much was written.
const OUTPUT_BYTES_SOFT: u32 = 16 << 20;

/// The entries of a table.
type Entries = BTreeMap<Vec<u8>, Vec<u8>>;
/// Answers requests by HTTP.
type Answerer = Box<dyn Fn(&http::Request) -> http::Response>;

thread_local! {
    /// The tables of the test that runs on this thread.
    static TABLES: RefCell<BTreeMap<String, Entries>> = const { RefCell::new(BTreeMap::new()) };
    /// Who answers its requests.
    static HTTP: RefCell<Option<Answerer>> = const { RefCell::new(None) };
    /// What it has put under keys.
    static KEPT: RefCell<Entries> = const { RefCell::new(Entries::new()) };
}

/// Gives the test that runs on this thread a table for [`table`](fn@crate::table) to look keys up in, in place of one of
/// this name that it had.
pub fn set_table<K, V>(name: &str, entries: impl IntoIterator<Item = (K, V)>)
where
    K: AsRef<[u8]>,
    V: AsRef<[u8]>,
{
    let entries = entries
        .into_iter()
        .map(|(key, value)| (key.as_ref().to_vec(), value.as_ref().to_vec()));
    let entries: Entries = entries.collect();
    TABLES.with_borrow_mut(|tables| tables.insert(name.to_owned(), entries));
}

/// Has `answer` answer the requests by HTTP that the test on this thread makes: see [`http`].
pub fn set_http(answer: impl Fn(&http::Request) -> http::Response + 'static) {
    HTTP.with_borrow_mut(|http| *http = Some(Box::new(answer)));
}

pub(crate) fn answer_http(request: &http::Request) -> Result<http::Response> {
    HTTP.with_borrow(|http| match http {
        Some(answer) => Ok(answer(request)),
        None => bail!("nobody answers: give the test answers with `testing::set_http`"),
    })
}

/// What the test on this thread has put under a key.
pub(crate) fn kept(key: &[u8]) -> Option<Vec<u8>> {
    KEPT.with_borrow(|kept| kept.get(key).cloned())
}

pub(crate) fn keep(key: &[u8], value: Option<Vec<u8>>) {
    KEPT.with_borrow_mut(|kept| match value {
        Some(value) => kept.insert(key.to_vec(), value),
        None => kept.remove(key),
    });
}

/// What a table of this thread has under a key; `None` where there is no such table.
pub(crate) fn look_up(name: &str, key: &[u8]) -> Option<Option<Vec<u8>>> {
    TABLES.with_borrow(|tables| Some(tables.get(name)?.get(key).cloned()))
}

/// A function that `#[smartmodule(..)]` stands in front of, as a host calls it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    kind: &'static str,
    call: fn(usize) -> *const u8,
}

impl Entry {
    /// What the macro makes.
    #[must_use]
    pub const fn new(kind: &'static str, call: fn(usize) -> *const u8) -> Self {
        Self { kind, call }
    }
}

/// A module under test: a stream that has it as its one step. Made by [`harness!`].
///
/// ```
/// use thalweg_smartmodule::testing::harness;
/// use thalweg_smartmodule::{Record, Result, SmartOpt, State, smartmodule};
///
/// #[derive(SmartOpt)]
/// pub struct Options {
///     word: String,
/// }
///
/// static OPTIONS: State<Options> = State::new();
///
/// #[smartmodule(init)]
/// pub fn init(options: Options) -> Result<()> {
///     OPTIONS.set(options)
/// }
///
/// #[smartmodule(filter)]
/// pub fn contains(line: &str) -> Result<bool> {
///     Ok(line.contains(&OPTIONS.get()?.word))
/// }
///
/// let mut stream = harness!(init, contains).param("word", "ERROR");
///
/// let kept = stream.run(["ERROR no disk", "INFO started"]).unwrap();
///
/// assert_eq!(kept.len(), 1);
/// assert_eq!(kept[0].value.as_str(), Ok("ERROR no disk"));
/// ```
#[derive(Debug)]
pub struct Harness {
    module: Entry,
    init: Option<Entry>,
    look_back: Option<Entry>,
    params: SmartModuleExtraParams,
    seen_before: Vec<Record>,
    accumulator: Vec<u8>,
    next_offset: i64,
    has_begun: bool,
}

/// A module that failed, as the stream's user is told of it.
///
/// ```
/// use thalweg_smartmodule::testing::harness;
/// use thalweg_smartmodule::{Result, ensure, smartmodule};
///
/// #[smartmodule(map)]
/// pub fn strict(line: &str) -> Result<&str> {
///     ensure!(line != "bad", "that is bad");
///     Ok(line)
/// }
///
/// let failed = harness!(strict).run(["good", "bad"]).unwrap_err();
///
/// assert_eq!(failed.to_string(), "the record at offset 1 failed: that is bad");
/// assert_eq!(failed.passed.len(), 1);
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Failed {
    /// The offset of the record that failed; `None` when it was no record: `init`, say.
    pub offset: Option<i64>,
    /// What the module says.
    pub message: String,
    /// What had come out before.
    pub passed: Vec<Record>,
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.offset {
            Some(offset) => write!(f, "the record at offset {offset} failed: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failed {}

impl Harness {
    /// What [`harness!`] calls.
    ///
    /// # Panics
    ///
    /// When the functions make no module: one kind, and at most one of each hook.
    #[doc(hidden)]
    #[must_use]
    pub fn new(entries: &[Entry]) -> Self {
        let only = |is_wanted: &dyn Fn(&str) -> bool, what: &str| {
            let mut found = entries.iter().filter(|entry| is_wanted(entry.kind));
            let first = found.next().copied();
            assert!(
                found.next().is_none(),
                "harness! is given two functions for {what}"
            );
            first
        };
        let is_hook = |kind: &str| matches!(kind, "init" | "look_back");
        Self {
            module: only(&|kind| !is_hook(kind), "the kind")
                .expect("harness! is given the function of the module's kind"),
            init: only(&|kind| kind == "init", "init"),
            look_back: only(&|kind| kind == "look_back", "look_back"),
            params: SmartModuleExtraParams::default(),
            seen_before: Vec::new(),
            accumulator: Vec::new(),
            next_offset: 0,
            has_begun: false,
        }
    }

    /// The same stream with a parameter.
    #[must_use]
    pub fn param(mut self, name: &str, value: &str) -> Self {
        self.params.insert(name, value);
        self
    }

    /// The same stream with records before its start, for `look_back`.
    #[must_use]
    pub fn look_back<R: Into<Record>>(mut self, records: impl IntoIterator<Item = R>) -> Self {
        self.seen_before = records.into_iter().map(Into::into).collect();
        self
    }

    /// The same stream with an accumulator to begin with.
    #[must_use]
    pub fn accumulator(mut self, initial: impl Into<Vec<u8>>) -> Self {
        self.accumulator = initial.into();
        self
    }

    /// What an aggregate has accumulated so far.
    #[must_use]
    pub fn accumulated(&self) -> &[u8] {
        &self.accumulator
    }

    /// Puts a batch of records through the module; further calls go on with the same stream. The
    /// first call begins it, with `init` and `look_back`.
    ///
    /// Records get the offsets that follow each other, unless they have higher ones of their own.
    ///
    /// # Errors
    ///
    /// When a record fails, with what had come out before; when the stream can't begin.
    ///
    /// # Panics
    ///
    /// When the module panics, and when it breaks the ABI, which would be the SDK's fault.
    pub fn run<R: Into<Record>>(
        &mut self,
        records: impl IntoIterator<Item = R>,
    ) -> Result<Vec<Record>, Failed> {
        if !self.has_begun {
            self.begin()?;
        }
        let records: Vec<Record> = records.into_iter().map(Into::into).collect();
        let mut records = numbered(records, self.next_offset);
        let mut passed = Vec::new();
        while let Some(last) = records.last() {
            let next_offset = last.offset() + 1;
            let (answer, output, message) =
                call_natively(&encode(&records, &self.accumulator), self.module.call);
            let consumed_count = answer.consumed_count as usize;
            let taken = self.decode(&records[..consumed_count], &answer, &output);
            if self.module.kind == "aggregate"
                && let Some(last) = taken.last()
            {
                self.accumulator = last.value.as_bytes().to_vec();
            }
            passed.extend(taken);
            if answer.status != STATUS_OK {
                let failed = &records.get(consumed_count);
                return Err(Failed {
                    offset: failed
                        .filter(|_| answer.status == STATUS_RECORD_FAILED)
                        .map(Record::offset),
                    message,
                    passed,
                });
            }
            assert!(consumed_count > 0, "the module dealt with no record");
            records.drain(..consumed_count);
            self.next_offset = next_offset;
        }
        Ok(passed)
    }

    fn begin(&mut self) -> Result<(), Failed> {
        self.has_begun = true;
        let params: Vec<_> = self.params.iter().collect();
        match self.init {
            Some(init) => begin_with(init, &write_params(params.into_iter()))?,
            None if params.is_empty() => {}
            None => {
                return Err(not_begun(
                    "the module takes no parameters: it has no `init`",
                ));
            }
        }
        let seen_before = numbered(std::mem::take(&mut self.seen_before), 0);
        let Some(last) = seen_before.last() else {
            return Ok(());
        };
        self.next_offset = last.offset() + 1;
        let look_back = self
            .look_back
            .ok_or_else(|| not_begun("the module has no `look_back` to be given records by"))?;
        begin_with(look_back, &encode(&seen_before, &[]))
    }

    /// The records of an answer, as a host takes them out.
    fn decode(&self, dealt_with: &[Record], answer: &Answer, output: &[u8]) -> Vec<Record> {
        let records = if self.module.kind == "filter" {
            assert_eq!(output.len(), bitmap_bytes(dealt_with.len()));
            let kept = dealt_with.iter().enumerate();
            kept.filter(|(index, _)| bitmap_get(output, *index))
                .map(|(_, record)| copy(record))
                .collect()
        } else {
            decode_records(output)
        };
        assert_eq!(records.len(), answer.output_count as usize);
        records
    }
}

fn not_begun(message: &str) -> Failed {
    Failed {
        offset: None,
        message: message.to_owned(),
        passed: Vec::new(),
    }
}

fn begin_with(entry: Entry, input: &[u8]) -> Result<(), Failed> {
    let (answer, _, message) = call_natively(input, entry.call);
    match answer.status {
        STATUS_OK => Ok(()),
        _ => Err(not_begun(&message)),
    }
}

/// The records with offsets that grow, from `next_offset` on.
fn numbered(records: Vec<Record>, mut next_offset: i64) -> Vec<Record> {
    let renumber = |record: Record| {
        let offset = record.offset().max(next_offset);
        next_offset = offset + 1;
        record.with_offset(offset)
    };
    records.into_iter().map(renumber).collect()
}

/// The input that a host makes of the records.
///
/// Base offset and time are 0, so that deltas are the numbers themselves.
fn encode(records: &[Record], accumulator: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    for record in records {
        write_record(
            &mut section,
            record.timestamp(),
            record.offset(),
            record.key.as_ref().and_then(|key| key.as_option()),
            record.value.as_option(),
            record.headers().iter(),
        );
    }
    let header = InputHeader {
        record_count: length(records.len()),
        records_position: length(INPUT_HEADER_BYTES),
        records_bytes: length(section.len()),
        accumulator_position: length(INPUT_HEADER_BYTES + section.len()),
        accumulator_bytes: length(accumulator.len()),
        output_bytes_soft: OUTPUT_BYTES_SOFT,
        ..InputHeader::default()
    };
    [&header.encode()[..], &section, accumulator].concat()
}

fn length(length: usize) -> u32 {
    u32::try_from(length).expect("a test's records have less than 4 GiB")
}

fn decode_records(section: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut position = 0;
    while position < section.len() {
        let raw = read_record(section, &mut position).expect("the module writes records");
        assert!(raw.headers.are_well_formed(), "the module writes headers");
        // SAFETY: the borrowing record is dropped in this turn, before `section`.
        let record = unsafe { Record::from_input(&InputHeader::default(), &raw) };
        records.push(copy(&record));
    }
    records
}

/// A record with its own bytes.
fn copy(record: &Record) -> Record {
    let mut copy = Record::new(record.value.clone())
        .with_offset(record.offset())
        .with_timestamp(record.timestamp());
    copy.key = record.key.clone();
    for (name, value) in record.headers().to_owned_pairs() {
        copy = copy.with_header(&name, value);
    }
    copy
}
