//! The host's side of the SmartModule ABI: a guest that answers with any bytes.
//!
//! What must hold is said in `tests/decoders`, which ordinary test runs use too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = thalweg_tests_decoders::guest_answer(bytes);
});
