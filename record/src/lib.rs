//! The Kafka v2 record batch: the one format of Thalweg's records on the wire, on disk and in front
//! of SmartModules.
//!
//! Reading is lazy and borrows: [`batches`] walks whole batches by their 61-byte headers, and
//! [`Batch::records`] decompresses and iterates only when someone needs the records. Writing goes
//! straight into one buffer: [`BatchBuilder`] for records, [`assemble_batch`] around records that
//! are encoded already.
//!
//! Invariants: bytes from outside never panic and never make this crate allocate by a length that
//! they only claim; whatever is decompressed stays below the bound that the caller gives. The
//! format is described in `docs/formats/record-batch.md`.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod assemble;
mod batch;
mod batch_iter;
mod builder;
mod codec;
pub mod compression;
mod error;
mod header;
mod headers;
mod progress_marker;
mod record;
mod record_iter;
mod record_writer;
mod records;
mod stamp;
mod varint;

pub use assemble::{append_batch, append_under_header, assemble_batch};
pub use batch::Batch;
pub use batch_iter::{BatchIter, batches};
pub use builder::{BatchBuilder, BatchOptions};
pub use codec::{Codec, UnknownCodec};
pub use error::{BatchError, BuildError};
pub use header::{BATCH_HEADER_BYTES, BatchHeader, MAGIC};
pub use headers::{Header, HeaderIter, Headers};
pub use progress_marker::ProgressMarker;
pub use record::Record;
pub use record_iter::{EncodedRecords, RecordIter};
pub use record_writer::{RecordFields, encoded_record_bytes, record_bytes_max, write_record};
pub use records::{Records, renumber_records, write_shifted_record};
pub use stamp::{batch_prefix, stamp_log_append_time, stamp_position, stamp_sequence};
