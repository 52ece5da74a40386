//! Reads whatever comes as record batches: in a fetch answer, a produce request or a file.
//!
//! Nothing may panic, and nothing may be larger than the bound. What passes every check must still
//! pass after it is put together again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg_record::{Batch, assemble_batch, batches, renumber_records};

const LIMIT_BYTES: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    for batch in batches(bytes).flatten() {
        let _ = batch.validate_produced();
        read_records(&batch);
        // A fuzzer does not guess checksums, so give the batch the one that it should have.
        let codec = batch.header().codec();
        if let (Ok(codec), Ok(records)) = (codec, batch.records(LIMIT_BYTES)) {
            let sealed = assemble_batch(*batch.header(), records.as_bytes(), codec)
                .expect("a megabyte fits a batch");
            let sealed = Batch::parse(&sealed).expect("it was just assembled");
            assert_eq!(sealed.verify_crc(), Ok(()));
            let again = sealed.records(LIMIT_BYTES).expect("it was just compressed");
            assert_eq!(again.as_bytes(), records.as_bytes());
        }
    }
});

fn read_records(batch: &Batch<'_>) {
    let Ok(records) = batch.records(LIMIT_BYTES) else {
        return;
    };
    assert!(records.as_bytes().len() <= LIMIT_BYTES.max(batch.bytes().len()));
    for record in records.iter().flatten() {
        assert_eq!(record.headers.iter().count(), record.headers.len());
    }
    let mut renumbered = Vec::new();
    let count = batch.header().record_count;
    let _ = renumber_records(count, records.as_bytes(), &mut renumbered);
}
