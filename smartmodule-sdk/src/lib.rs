//! The SDK for writing SmartModules in Rust.
//!
//! A SmartModule is a function over records, compiled to WebAssembly and run by the servers that
//! hold the data. Write the function, name its kind, build for `wasm32-unknown-unknown`:
//!
//! ```
//! use thalweg_smartmodule::{Record, Result, smartmodule};
//!
//! #[smartmodule(filter)]
//! pub fn errors_only(record: &Record) -> Result<bool> {
//!     let line = std::str::from_utf8(record.value.as_ref())?;
//!     Ok(line.contains("ERROR"))
//! }
//! # assert!(errors_only(&Record::new("an ERROR")).unwrap());
//! ```
//!
//! | Kind | Function |
//! |---|---|
//! | `filter` | `fn(&Record) -> Result<bool>` |
//! | `map` | `fn(&Record) -> Result<(Option<RecordData>, RecordData)>` |
//! | `filter_map` | `fn(&Record) -> Result<Option<(Option<RecordData>, RecordData)>>` |
//! | `array_map` | `fn(&Record) -> Result<Vec<(Option<RecordData>, RecordData)>>` |
//! | `aggregate` | `fn(RecordData, &Record) -> Result<RecordData>` |
//! | hook `init` | `fn(SmartModuleExtraParams) -> Result<()>`, or of any type with [`SmartOpt`] |
//! | hook `look_back` | `fn(&Record) -> Result<()>` |
//!
//! A module has one kind and may have hooks. In place of `&Record` a function may take what it wants
//! to know of the record, by [`FromRecord`]: its value as `&str` or as typed [`Json`], its headers.
//! In place of the pair of key and value it may give any [`IntoOutput`]: text, [`Json`], or an
//! [`Output`] with headers. An aggregate may carry any [`Accumulator`].
//!
//! ```
//! # #[cfg(feature = "json")] {
//! use serde::Deserialize;
//! use thalweg_smartmodule::{Json, Result, smartmodule, testing::harness};
//!
//! #[derive(Deserialize)]
//! pub struct Flight {
//!     carrier: String,
//!     delay: Option<i64>,
//! }
//!
//! #[smartmodule(filter_map)]
//! pub fn delays(Json(flight): Json<Flight>) -> Result<Option<(String, String)>> {
//!     Ok(flight.delay.map(|delay| (flight.carrier, delay.to_string())))
//! }
//!
//! let passed = harness!(delays).run([r#"{"carrier":"AA","delay":5}"#]).unwrap();
//! assert_eq!(passed[0].value.as_str(), Ok("5"));
//! # }
//! ```
//!
//! The functions are ordinary ones: call them from `#[cfg(test)]` tests on the machine that you
//! write on, or run batches through the whole module with [`testing`].
//!
//! Called by the authors of SmartModules; the macros generate nothing but calls into [`guest`].
//! What host and guest say to each other is in `docs/formats/smartmodule-abi.md`.
#![warn(missing_docs)]

mod accumulator;
mod current;
pub mod dataplane;
mod error;
mod from_record;
#[doc(hidden)]
pub mod guest;
mod host;
pub mod http;
#[cfg(feature = "json")]
mod json;
#[cfg(feature = "json")]
mod json_place;
mod key_value;
mod output;
mod params;
mod record;
mod record_data;
mod state;
mod table;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
mod to_data;

/// The error macro and type under the names that authors know from `eyre`.
pub mod eyre {
    pub use crate::error::{Context, Context as WrapErr, Error, Error as Report, Result};
    pub use crate::{bail, ensure, eyre};
}

pub use accumulator::Accumulator;
pub use error::{Context, Error, Result};
pub use from_record::FromRecord;
pub use host::{Level, log};
#[cfg(feature = "json")]
pub use json::Json;
pub use key_value::{KeyValue, key_value};
pub use output::{IntoOutput, Output};
pub use params::{ParamError, ParamValue, SmartModuleExtraParams, SmartModuleInitError, SmartOpt};
pub use record::{Header, Headers, Record, SmartModuleRecord};
pub use record_data::RecordData;
pub use state::State;
pub use table::{Table, table};
pub use thalweg_smartmodule_derive::{SmartOpt, smartmodule};
pub use to_data::ToData;
