//! Why a SmartModule that the cluster should keep can't be used.

use thalweg_types::ModuleRef;
use thalweg_types::resource::UnknownModule;

use crate::admin::AdminError;

/// Every way that finding a registered SmartModule can fail.
#[derive(Debug, thiserror::Error)]
pub enum ModuleError {
    /// Nothing of that name or version is registered.
    #[error(transparent)]
    Unknown(#[from] UnknownModule),
    /// This SPU has not heard of it, and nobody can say whether it is registered.
    #[error("this SPU has not heard of a SmartModule `{module}`, and can't ask the SC: {source}")]
    Unheard {
        /// What was named.
        module: ModuleRef,
        /// Why the SC can't be asked.
        source: AdminError,
    },
    /// It is registered, and its bytes can't be had now.
    #[error(
        "SmartModule `{module}` is registered, but its bytes can't be had now: {reason}; try again"
    )]
    Unavailable {
        /// The module with its version.
        module: ModuleRef,
        /// Why.
        reason: String,
    },
}
