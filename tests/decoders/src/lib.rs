//! What must hold for any bytes from outside, SmartModules and what they answer above all.
//!
//! Each function takes bytes that a stranger chose and panics where the code that reads them breaks
//! its word. `tests/fuzz` drives them with a fuzzer, and this crate's own tests with seeds and some
//! thousand damaged forms of them, which every test run repeats.
#![forbid(unsafe_code)]

mod choices;
mod guest_answer;
mod module_loader;
mod smartmodule_abi;
mod streams;

pub use guest_answer::guest_answer;
pub use module_loader::module_loader;
pub use smartmodule_abi::{guest_input, guest_params, guest_records};
pub use streams::{open_stream, stream_tags};
