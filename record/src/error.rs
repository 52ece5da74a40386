//! Why bytes are not a batch, and why records can't become one.

use crate::codec::Codec;

/// Why bytes are not a batch that this crate accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("batch is cut short: {needed_bytes} bytes are needed, {available_bytes} are there")]
    Truncated {
        /// The size of the header, or what the header gives as the batch's size.
        needed_bytes: usize,
        /// How many bytes there are.
        available_bytes: usize,
    },
    /// The batch is of another message format.
    #[error(
        "record format version {found} is not supported, send batches of version 2 (Kafka 0.11 or newer)"
    )]
    Magic {
        /// The version that the batch gives.
        found: i8,
    },
    /// The length in the header can't be one.
    #[error("batch length {batch_length} is smaller than a batch header")]
    Length {
        /// The header's `batchLength`.
        batch_length: i32,
    },
    /// The bytes are not those that the writer checksummed.
    #[error("batch checksum is {actual:#010x} where the header says {expected:#010x}")]
    Crc {
        /// The header's checksum.
        expected: u32,
        /// The checksum of the bytes.
        actual: u32,
    },
    /// A header field contradicts another or has a value that no writer gives it.
    #[error("batch header field `{field}` is {value}: {reason}")]
    Header {
        /// The field's name in Kafka's documentation.
        field: &'static str,
        /// Its value.
        value: i64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The codec's number stands for none that is known.
    #[error(
        "unknown compression codec {bits}, known are none (0), gzip (1), snappy (2), lz4 (3) and zstd (4)"
    )]
    Codec {
        /// The number in the header's attributes.
        bits: u8,
    },
    /// The codec refused the compressed records.
    #[error("records do not decompress with {codec}: {reason}")]
    Decompress {
        /// The codec that the header names.
        codec: Codec,
        /// What the codec says.
        reason: String,
    },
    /// The records are larger than the bound when decompressed.
    #[error("records compressed with {codec} decompress to more than {limit_bytes} bytes")]
    TooLarge {
        /// The codec that the header names.
        codec: Codec,
        /// The bound that the caller gave.
        limit_bytes: usize,
    },
    /// A record does not parse.
    #[error("record {index} of the batch is malformed: {reason}")]
    MalformedRecord {
        /// The record's place in the batch, from 0.
        index: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There are fewer or more records than the header says.
    #[error("batch holds {found} records where the header says {declared}{}", and_more(*.found, *.declared))]
    RecordCount {
        /// The header's count.
        declared: i32,
        /// How many records parsed before the end, or before bytes that belong to no record.
        found: usize,
    },
}

fn and_more(found: usize, declared: i32) -> &'static str {
    if usize::try_from(declared) == Ok(found) {
        ", and then more bytes"
    } else {
        ""
    }
}

/// Why records can't become a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A batch's length is an `i32`.
    #[error("batch would exceed {limit_bytes} bytes, the most that the format can hold")]
    TooLarge {
        /// The format's bound.
        limit_bytes: usize,
    },
    /// A record does not come after the one before it.
    #[error("offset delta {offset_delta} does not follow {last_offset_delta}")]
    OffsetDelta {
        /// The delta that was given.
        offset_delta: i32,
        /// The delta of the record before, or -1.
        last_offset_delta: i32,
    },
    /// There are no offset deltas left.
    #[error("batch holds as many records as the format can number")]
    TooManyRecords,
}
