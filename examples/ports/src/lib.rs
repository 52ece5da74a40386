//! SmartModules as fluvio's authors write them, with another crate in their `use` lines.
//!
//! Each file of `examples/` is a module of its own, with tests that run it natively, and
//! `smartengine/tests/ports.rs` runs the WebAssembly of each. All but `json_filter`, `enrich` and
//! `typed` are written with nothing but what fluvio's SDK has too; those three show what this one has
//! beside it.
//!
//! | Module | Kind | Shows |
//! |---|---|---|
//! | `regex_filter` | filter | a regular expression as a required parameter |
//! | `uppercase` | map | text in capitals, the key kept |
//! | `json_project` | map | some of the fields of a JSON object |
//! | `json_filter` | filter | records by a field of JSON, with parameters in a struct |
//! | `validate` | filter_map | good records normalised, bad ones left out |
//! | `json_split` | array_map | a record of each element of a JSON array |
//! | `running_sum` | aggregate | the sum so far, as text |
//! | `average` | aggregate | the average so far, in an accumulator of JSON |
//! | `field_counts` | aggregate | counts, least and greatest by field |
//! | `keys_once` | filter, look_back | each key once, also across the stream's start |
//! | `prefix` | map | optional parameters with defaults, read without a struct |
//! | `age` | map | the records' timestamps |
//! | `mask_email` | map | text masked in place, in bytes of any encoding |
//! | `enrich` | map | offset, time and headers in and out |
//! | `typed` | filter_map | typed JSON in and out, nested JSON as a parameter, lines for the log |
#![forbid(unsafe_code)]
