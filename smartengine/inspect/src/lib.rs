//! What a module's bytes say about it before any of its code is compiled or run.
//!
//! What the engine asks of a module before it compiles it: WebAssembly, ABI version, exactly one
//! kind, only imports that are offered, bounds on its structure. Takes bytes from anywhere and
//! names no compiler, so that whoever only keeps modules needs none.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod imports;
mod kind;
mod load_error;
mod params;
mod shape;

pub use imports::{OfferedImport, WASI_MODULE, offered_import};
pub use kind::kind_export;
pub use load_error::LoadError;
pub use params::DeclaredParam;
pub use shape::{ModuleShape, check_code, check_sections};

/// The largest module that is taken unless somebody sets another bound, in bytes.
pub const MODULE_BYTES_MAX: usize = 8 << 20;
