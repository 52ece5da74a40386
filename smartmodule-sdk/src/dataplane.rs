//! The paths under which authors of fluvio's SmartModules know the SDK's types, so that a module
//! ports by changing the crate in its `use` lines.
//!
//! ```
//! use thalweg_smartmodule::dataplane::smartmodule::SmartModuleRecord;
//! use thalweg_smartmodule::{Result, smartmodule};
//!
//! #[smartmodule(filter)]
//! pub fn filter(record: &SmartModuleRecord) -> Result<bool> {
//!     let string = std::str::from_utf8(record.value.as_ref())?;
//!     Ok(string.contains('a'))
//! }
//! # assert!(filter(&SmartModuleRecord::new("a")).unwrap());
//! ```

/// Parameters and their errors.
pub mod smartmodule {
    pub use crate::params::{SmartModuleExtraParams, SmartModuleInitError};
    pub use crate::record::SmartModuleRecord;
}

/// Records.
pub mod record {
    pub use crate::record::Record;
    pub use crate::record_data::RecordData;
}
