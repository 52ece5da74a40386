//! The text of what is read out of a batch, as `Description.java` writes it.

use std::fmt::Write;

use thalweg_record::{Batch, Headers};
use thalweg_types::TimestampType;

/// Longer fields are described by their size and checksum.
const HEX_BYTES_MAX: usize = 64;

/// A line per header field, then a line per record.
pub(super) fn describe(batch: &Batch<'_>) -> String {
    let header = batch.header();
    let timestamp_type = match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    };
    let mut out = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        writeln!(out, "{name} {value}").unwrap();
    };
    line("size_bytes", &header.size_bytes());
    line("base_offset", &header.base_offset);
    line("last_offset", &header.last_offset());
    line("leader_epoch", &header.leader_epoch);
    line("crc", &format!("{:08x}", header.crc));
    line("codec", &header.codec().unwrap());
    line("timestamp_type", &timestamp_type);
    line("transactional", &header.is_transactional());
    line("control", &header.is_control());
    line("delete_horizon", &header.has_delete_horizon());
    line("base_timestamp", &header.base_timestamp_ms);
    line("max_timestamp", &header.max_timestamp_ms);
    line("producer_id", &header.producer_id);
    line("producer_epoch", &header.producer_epoch.0);
    line("base_sequence", &header.base_sequence);
    line("last_sequence", &header.last_sequence().unwrap_or(-1));
    line("record_count", &header.record_count);
    for record in &batch.records(usize::MAX).unwrap() {
        let record = record.unwrap();
        let (key, value) = (field(record.key), field(record.value));
        let headers = headers(record.headers);
        let (offset, timestamp) = (record.offset, record.timestamp_ms);
        writeln!(out, "record {offset} {timestamp} {key} {value} {headers}").unwrap();
    }
    out
}

fn headers(headers: Headers<'_>) -> String {
    let each: Vec<String> = headers
        .iter()
        .map(|header| format!("{}={}", field(Some(header.key)), field(header.value)))
        .collect();
    format!("[{}]", each.join(","))
}

fn field(field: Option<&[u8]>) -> String {
    match field {
        None => "null".to_owned(),
        Some(bytes) if bytes.len() <= HEX_BYTES_MAX => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("0x{hex}")
        }
        Some(bytes) => format!("{}-bytes:{:08x}", bytes.len(), crc32c::crc32c(bytes)),
    }
}
