//! Every flight, for the tests of the SmartModules in `examples/`.

use thalweg_smartmodule::Record;

/// Calls `each` with every flight as a record, the carrier as key.
pub(crate) fn for_each(mut each: impl FnMut(&Record)) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights.csv.zst");
    let packed = std::fs::File::open(path).unwrap();
    let unpacked = zstd::decode_all(packed).unwrap();
    let text = String::from_utf8(unpacked).unwrap();
    for line in text.lines().skip(1) {
        let carrier = line.split(',').nth(9).unwrap();
        each(&Record::with_key(carrier, line));
    }
}
