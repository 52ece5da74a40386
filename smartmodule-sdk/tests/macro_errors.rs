//! The macros' errors point at the author's code and say what to write.

#[test]
fn wrong_code_is_told_what_is_wrong() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
