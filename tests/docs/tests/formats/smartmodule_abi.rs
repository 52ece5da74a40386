//! `docs/formats/smartmodule-abi.md`

use thalweg_smartmodule_abi::{
    Answer, Groups, Header, InputHeader, STATUS_OK, bitmap_get, params_iter, read_record,
    write_groups, write_params, write_record,
};
use thalweg_tests_docs::hex_example;

const PAGE: &str = "smartmodule-abi";

#[test]
fn the_input_decodes_to_what_the_page_says() {
    let input = hex_example(PAGE, "input");

    let header = InputHeader::decode(&input).unwrap();
    let records = header.records(&input).unwrap();
    let mut position = 0;
    let late = read_record(records, &mut position).unwrap();
    let tombstone = read_record(records, &mut position).unwrap();

    assert_eq!(header.encode(), input[..64]);
    assert_eq!((header.base_offset, header.record_count), (42, 2));
    assert_eq!(header.base_timestamp_ms, 1_357_034_400_000);
    assert_eq!(header.output_bytes_soft, 16 << 20);
    assert_eq!(header.accumulator(&input), Some(&[][..]));
    assert_eq!(position, records.len());
    assert_eq!((late.offset_delta, late.timestamp_delta), (0, 0));
    assert_eq!(
        (late.key, late.value),
        (Some(&b"UA"[..]), Some(&b"late"[..]))
    );
    let trace = Header {
        name: b"trace",
        value: Some(b"1"),
    };
    assert!(late.headers.iter().eq([trace]));
    assert_eq!(
        (tombstone.offset_delta, tombstone.timestamp_delta),
        (2, 300)
    );
    assert_eq!((tombstone.key, tombstone.value), (Some(&b"AA"[..]), None));
}

#[test]
fn the_records_are_what_a_guest_would_write() {
    let input = hex_example(PAGE, "input");
    let trace = Header {
        name: b"trace",
        value: Some(b"1"),
    };
    let mut written = Vec::new();
    write_record(
        &mut written,
        0,
        0,
        Some(b"UA"),
        Some(b"late"),
        [trace].into_iter(),
    );
    write_record(&mut written, 300, 2, Some(b"AA"), None, [].into_iter());

    assert_eq!(written, input[64..]);
}

#[test]
fn the_answer_decodes_to_what_the_page_says() {
    let bytes: [u8; 32] = hex_example(PAGE, "answer").try_into().unwrap();
    let bitmap = hex_example(PAGE, "bitmap");

    let answer = Answer::decode(&bytes);

    assert_eq!(answer.encode(), bytes);
    assert_eq!((answer.status, answer.consumed_count), (STATUS_OK, 2));
    assert_eq!((answer.output_address, answer.output_count), (0x1100, 1));
    assert_eq!(answer.output_bytes as usize, bitmap.len());
    assert!(bitmap_get(&bitmap, 0) && !bitmap_get(&bitmap, 1));
}

#[test]
fn the_groups_decode_to_what_the_page_says() {
    let bytes = hex_example(PAGE, "groups");

    let groups = Groups::read(&bytes, 3, 2).unwrap();

    let accumulators = [&b"12"[..], b"7"];
    let numbers: Vec<_> = (0..3).map(|index| groups.of_record(index)).collect();
    assert_eq!(numbers, [0, 1, 0]);
    assert!(groups.accumulators().eq(accumulators.map(Some)));
    let mut written = Vec::new();
    let of_records = [0, 1, 0].into_iter();
    write_groups(&mut written, of_records, accumulators.into_iter());
    assert_eq!(written, bytes);
}

#[test]
fn the_parameters_decode_to_what_the_page_says() {
    let bytes = hex_example(PAGE, "params");

    let params: Result<Vec<_>, _> = params_iter(&bytes).collect();

    assert_eq!(params.unwrap(), [("minutes", "60")]);
    assert_eq!(write_params([("minutes", "60")].into_iter()), bytes);
}
