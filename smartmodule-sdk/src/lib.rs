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
//! A module has one kind and may have hooks. Where a kind returns a pair of key and value, it may
//! return an [`Output`] instead, which also sets headers. The functions are ordinary ones: call
//! them from `#[cfg(test)]` tests on the machine that you write on.
//!
//! Called by the authors of SmartModules; the macros generate nothing but calls into [`guest`].
//! What host and guest say to each other is in `docs/formats/smartmodule-abi.md`.
#![warn(missing_docs)]

pub mod dataplane;
mod error;
#[doc(hidden)]
pub mod guest;
mod host;
mod output;
mod params;
mod record;
mod record_data;

/// The error macro and type under the names that authors know from `eyre`.
pub mod eyre {
    pub use crate::error::{Context, Error, Error as Report, Result};
    pub use crate::{bail, ensure, eyre};
}

pub use error::{Context, Error, Result};
pub use host::{Level, log};
pub use output::{IntoOutput, Output};
pub use params::{ParamError, ParamValue, SmartModuleExtraParams, SmartModuleInitError, SmartOpt};
pub use record::{Header, Headers, Record, SmartModuleRecord};
pub use record_data::RecordData;
pub use thalweg_smartmodule_derive::{SmartOpt, smartmodule};
