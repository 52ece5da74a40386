//! The guest's side of the ABI: what the SDK reads of its input.

use thalweg_smartmodule_abi::{InputHeader, params_iter, read_record, write_params, write_record};

/// Reads `bytes` as the input of a kind: a header, the records and the accumulator it points to.
///
/// # Panics
/// When what is read lies outside of `bytes`.
pub fn guest_input(bytes: &[u8]) {
    let Some(header) = InputHeader::decode(bytes) else {
        assert!(bytes.len() < 64);
        return;
    };
    assert_eq!(InputHeader::decode(&header.encode()), Some(header));
    if let Some(records) = header.records(bytes) {
        assert_eq!(records.len(), header.records_bytes as usize);
        guest_records(records);
    }
    if let Some(accumulator) = header.accumulator(bytes) {
        assert_eq!(accumulator.len(), header.accumulator_bytes as usize);
    }
}

/// Reads `section` as records, and writes those that are well-formed once more.
///
/// # Panics
/// When a record does not read back as it was, or the host's reader refuses it.
pub fn guest_records(section: &[u8]) {
    let mut position = 0;
    while let Ok(record) = read_record(section, &mut position) {
        assert!(position <= section.len());
        let header_count = record.headers.iter().count();
        if !record.headers.are_well_formed() {
            continue;
        }
        let mut again = Vec::new();
        write_record(
            &mut again,
            record.timestamp_delta,
            record.offset_delta,
            record.key,
            record.value,
            record.headers.iter(),
        );
        let reread = read_record(&again, &mut 0).expect("it was just written");
        assert_eq!(reread.timestamp_delta, record.timestamp_delta);
        assert_eq!(reread.offset_delta, record.offset_delta);
        assert_eq!((reread.key, reread.value), (record.key, record.value));
        assert!(reread.headers.iter().eq(record.headers.iter()));
        assert_eq!(reread.headers.iter().count(), header_count);
    }
}

/// Reads `bytes` as the parameters that `init` is given.
///
/// # Panics
/// When well-formed ones do not read back as they were.
pub fn guest_params(bytes: &[u8]) {
    let Ok(params) = params_iter(bytes).collect::<Result<Vec<_>, _>>() else {
        return;
    };
    let again = write_params(params.iter().copied());
    assert!(bytes.starts_with(&again));
}
