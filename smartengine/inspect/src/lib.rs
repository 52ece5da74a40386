//! What a module's bytes say about it before any of its code is compiled or run.
//!
//! [`inspect`] is what the registry asks of a module before it keeps it, and the engine before it
//! compiles it: WebAssembly, ABI version, exactly one kind, only imports that are offered, bounds
//! on its structure. Takes bytes from anywhere and names no compiler, so that the SC needs none.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod imports;
mod kind;
mod load_error;
mod params;
mod shape;

pub use imports::{OfferedImport, WASI_MODULE, offered_import};
pub use kind::SmartModuleKind;
pub use load_error::LoadError;
pub use params::DeclaredParam;
pub use shape::{ModuleShape, check_code, check_sections};

/// The largest module that is taken unless somebody sets another bound, in bytes.
pub const MODULE_BYTES_MAX: usize = 8 << 20;

/// Checks all that can be checked without a compiler: the sections and the code.
///
/// # Errors
/// Says what is wrong with the module and what to do about it.
pub fn inspect(wasm: &[u8]) -> Result<ModuleShape, LoadError> {
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(LoadError::TooLarge {
            module_bytes: wasm.len(),
            limit_bytes: MODULE_BYTES_MAX,
        });
    }
    let shape = check_sections(wasm)?;
    check_code(wasm)?;
    Ok(shape)
}
