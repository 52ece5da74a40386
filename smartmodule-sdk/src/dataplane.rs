//! The paths under which authors of fluvio's SmartModules know the SDK's types, so that a module
//! ports by changing the crate in its `use` lines.

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
