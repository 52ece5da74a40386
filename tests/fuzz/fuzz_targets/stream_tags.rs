//! The tags of a fetch or a produce that belongs to a stream.
//!
//! What must hold is said in `tests/decoders`, which ordinary test runs use too.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    thalweg_tests_decoders::stream_tags(bytes);
});
