//! SmartModule ABI v1: the names and layouts that a host and a guest share.
//!
//! Called by `smartengine` on one side and by the SDK on the other, so that the two cannot drift;
//! `docs/formats/smartmodule-abi.md` says the same for every other language. Everything is little
//! endian except the records, which are encoded as in a Kafka v2 batch. Parsing never panics and
//! never reads past what it was given.
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod answer;
mod bitmap;
mod groups;
mod input;
mod output_buffer;
mod params;
mod record;
mod record_writer;
mod varint;

pub use answer::{ANSWER_BYTES, Answer, STATUS_FAILED, STATUS_OK, STATUS_RECORD_FAILED};
pub use bitmap::{bitmap_bytes, bitmap_get, bitmap_set};
pub use groups::{Groups, write_groups};
pub use input::{FLAG_LOG_APPEND_TIME, FLAGS_KNOWN, INPUT_HEADER_BYTES, InputHeader};
pub use output_buffer::OutputBuffer;
pub use params::{MalformedParams, params_iter, write_params};
pub use record::{Header, Headers, MalformedRecord, RawRecord, read_record, skip_record};
pub use record_writer::write_record;
pub use varint::{read_varint, read_varint_32, varint_bytes, write_varint};

/// A function `() -> ()` that every module of this ABI exports; it is never called.
pub const EXPORT_ABI_V1: &str = "thalweg_abi_v1";
/// What every export that names an ABI version starts with.
pub const EXPORT_ABI_PREFIX: &str = "thalweg_abi_v";
/// The guest's linear memory.
pub const EXPORT_MEMORY: &str = "memory";
/// `(bytes: i32) -> i32`: a buffer for the host's next inputs, valid until the next call of it.
pub const EXPORT_ALLOC: &str = "thalweg_alloc";
/// `(input: i32, bytes: i32) -> i32`: optional, called once with the parameters.
pub const EXPORT_INIT: &str = "thalweg_init";
/// `(input: i32, bytes: i32) -> i32`: optional, given records of before the stream's start.
pub const EXPORT_LOOK_BACK: &str = "thalweg_look_back";
/// The custom section that says which parameters a module takes, in lines of JSON.
pub const PARAMS_SECTION: &str = "thalweg_params";
/// `() -> ()`: optional, called once before anything else, as WASI reactors want it.
pub const EXPORT_INITIALIZE: &str = "_initialize";

/// The kind export of a filter.
pub const EXPORT_FILTER: &str = "thalweg_filter";
/// The kind export of a map.
pub const EXPORT_MAP: &str = "thalweg_map";
/// The kind export of a filter_map.
pub const EXPORT_FILTER_MAP: &str = "thalweg_filter_map";
/// The kind export of an array_map.
pub const EXPORT_ARRAY_MAP: &str = "thalweg_array_map";
/// The kind export of an aggregate.
pub const EXPORT_AGGREGATE: &str = "thalweg_aggregate";
/// `(input: i32, bytes: i32) -> i32`: optional, of an aggregate: given the records of many groups, with an accumulator
/// for each.
pub const EXPORT_AGGREGATE_GROUPS: &str = "thalweg_aggregate_groups";

/// The module that the host's own imports come from.
pub const IMPORT_MODULE: &str = "thalweg";
/// `(level: i32, text: i32, bytes: i32)`: a line for the host's log.
pub const IMPORT_LOG: &str = "log";
/// `(text: i32, bytes: i32)`: why the guest is about to trap.
pub const IMPORT_PANIC: &str = "panic";

/// `(name: i32, name_bytes: i32, key: i32, key_bytes: i32, value: i32, capacity: i32) -> i64`: what a table has under a
/// key. Gives how many bytes that is, which are written to `value` where they fit `capacity`; or [`NO_SUCH_KEY`] or
/// [`NO_SUCH_TABLE`].
pub const IMPORT_TABLE_GET: &str = "table_get";
/// The table has nothing under the key.
pub const NO_SUCH_KEY: i64 = -1;
/// There is no table of this name here.
pub const NO_SUCH_TABLE: i64 = -2;

/// `(offset: i64, number: i32, request: i32, request_bytes: i32, answer: i32, capacity: i32) -> i64`: the answer to an
/// HTTP request, as it was when the request was made for the record at `offset` as its call number `number`. Gives how
/// many bytes that is, which are written to `answer` where they fit `capacity`; or [`HTTP_WAITS`].
pub const IMPORT_HTTP_CALL: &str = "http_call";
/// The request is made once the guest has returned; then the guest is given the same records again.
pub const HTTP_WAITS: i64 = -1;

/// `(key: i32, key_bytes: i32, value: i32, capacity: i32) -> i64`: what the module has put under a key. As
/// [`IMPORT_TABLE_GET`], with [`NO_KEY_VALUE`] where the module may keep nothing.
pub const IMPORT_KEY_VALUE_GET: &str = "key_value_get";
/// `(offset: i64, entries: i32, entries_bytes: i32) -> i32`: puts what the record at `offset` changed, all of it or
/// nothing. Each entry is the key's length, the value's length or [`REMOVED`] (both 4 bytes, little-endian), the key and
/// the value. Gives [`KEY_VALUE_PUT`] or why not.
pub const IMPORT_KEY_VALUE_PUT: &str = "key_value_put";
/// In place of a value's length: nothing is under the key any more.
pub const REMOVED: u32 = u32::MAX;
/// All entries are put.
pub const KEY_VALUE_PUT: i32 = 0;
/// The module may keep nothing here.
pub const NO_KEY_VALUE: i32 = -2;
/// There is no room for them.
pub const KEY_VALUE_FULL: i32 = -3;
/// They are malformed, or belong to no record.
pub const KEY_VALUE_INVALID: i32 = -4;

/// Levels of [`IMPORT_LOG`].
pub const LOG_ERROR: i32 = 1;
/// See [`LOG_ERROR`].
pub const LOG_WARN: i32 = 2;
/// See [`LOG_ERROR`].
pub const LOG_INFO: i32 = 3;
/// See [`LOG_ERROR`].
pub const LOG_DEBUG: i32 = 4;
