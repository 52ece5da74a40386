//! The parameters that a SmartModule's init reads.
//!
//! What must hold is said in `tests/decoders`, which ordinary test runs use too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    thalweg_tests_decoders::guest_params(bytes);
});
