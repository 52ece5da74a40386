//! The flights' SmartModules give the known answers when the engine runs them.
#![allow(clippy::unwrap_used, reason = "a test that can't set itself up fails")]

mod support;

use thalweg_record::{Batch, BatchBuilder, BatchOptions, Codec};
use thalweg_smartengine::{Chain, SmartModuleKind};
use thalweg_types::Offset;

use support::{flights_module, open, records, step};

/// Every flight, in batches of a thousand.
fn batches() -> Vec<Vec<u8>> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../examples/flights/data/flights.csv.zst"
    );
    let csv = zstd::decode_all(std::fs::File::open(path).unwrap()).unwrap();
    let text = String::from_utf8(csv).unwrap();
    let lines: Vec<_> = text.lines().skip(1).collect();
    let mut offset = 0;
    lines
        .chunks(1000)
        .map(|chunk| {
            let mut builder = BatchBuilder::new(BatchOptions {
                codec: Codec::Lz4,
                base_offset: Offset(offset),
                ..BatchOptions::default()
            });
            for line in chunk {
                let carrier = line.split(',').nth(9).unwrap();
                builder
                    .push(0, Some(carrier.as_bytes()), Some(line.as_bytes()), &[])
                    .unwrap();
            }
            offset += chunk.len() as i64;
            builder.build().unwrap()
        })
        .collect()
}

fn chain(name: &str, kind: SmartModuleKind) -> Chain {
    let module = support::engine().load(&flights_module(name)).unwrap();
    assert_eq!(module.kind(), kind);
    open(vec![step(&module)]).unwrap()
}

/// Puts every flight through a chain, resuming within batches where it stops.
fn run(chain: &mut Chain, mut each: impl FnMut(&str)) -> Option<Vec<u8>> {
    let mut accumulator = None;
    let mut from = Offset::ZERO;
    for batch in batches() {
        let batch = Batch::parse(&batch).unwrap();
        while from < batch.header().next_offset() {
            let output = chain.process(batch, from).unwrap();
            assert!(output.next_offset > from);
            from = output.next_offset;
            for (_, value) in records(&output) {
                each(&value);
            }
            accumulator = output.accumulator;
        }
    }
    accumulator
}

#[test]
fn the_filter_keeps_as_many_late_flights_as_is_known() {
    let mut count = 0;
    run(&mut chain("late", SmartModuleKind::Filter), |_| count += 1);
    assert_eq!(count, 26_581);
}

#[test]
fn the_filter_map_finds_as_many_cancelled_flights_as_is_known() {
    let mut count = 0;
    run(&mut chain("cancelled", SmartModuleKind::FilterMap), |_| {
        count += 1;
    });
    assert_eq!(count, 8_255);
}

#[test]
fn the_map_gives_an_object_for_each_flight() {
    let (mut count, mut delayed) = (0, 0);
    run(&mut chain("to_json", SmartModuleKind::Map), |value| {
        let json: serde_json::Value = serde_json::from_str(value).unwrap();
        count += 1;
        delayed += u32::from(json["departure_delay"].as_i64() > Some(60));
    });
    assert_eq!((count, delayed), (336_776, 26_581));
}

#[test]
fn the_array_map_gives_both_airports_of_each_flight() {
    let (mut count, mut from_jfk) = (0, 0);
    run(&mut chain("airports", SmartModuleKind::ArrayMap), |value| {
        count += 1;
        from_jfk += u32::from(value.starts_with("JFK departure"));
    });
    assert_eq!((count, from_jfk), (2 * 336_776, 111_279));
}

#[test]
fn the_aggregate_ends_with_the_known_table() {
    let mut count = 0;
    let accumulator = run(
        &mut chain("delays_by_carrier", SmartModuleKind::Aggregate),
        |_| count += 1,
    );

    let table: serde_json::Value = serde_json::from_slice(&accumulator.unwrap()).unwrap();
    let known = [
        ("9E", 18_460, 17_416, 291_296),
        ("AA", 32_729, 32_093, 275_551),
        ("AS", 714, 712, 4_133),
        ("B6", 54_635, 54_169, 705_417),
        ("DL", 48_110, 47_761, 442_482),
        ("EV", 54_173, 51_356, 1_024_829),
        ("F9", 685, 682, 13_787),
        ("FL", 3_260, 3_187, 59_680),
        ("HA", 342, 342, 1_676),
        ("MQ", 26_397, 25_163, 265_521),
        ("OO", 32, 29, 365),
        ("UA", 58_665, 57_979, 701_898),
        ("US", 20_536, 19_873, 75_168),
        ("VX", 5_162, 5_131, 66_033),
        ("WN", 12_275, 12_083, 214_011),
        ("YV", 601, 545, 10_353),
    ];
    assert_eq!(table.as_object().unwrap().len(), known.len());
    for (carrier, flights, delayed, minutes) in known {
        let expected =
            serde_json::json!({"flights": flights, "delayed": delayed, "minutes": minutes});
        assert_eq!(table[carrier], expected, "{carrier}");
    }
    assert_eq!(count, 336_776);
}
