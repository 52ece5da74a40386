//! What a module may import: the host's own functions and a part of WASI preview 1.
//!
//! The engine defines what is named here; `docs/formats/smartmodule-abi.md` says what it does.

use thalweg_smartmodule_abi as abi;
use wasmparser::ValType;

/// The module that WASI preview 1's functions are imported from.
pub const WASI_MODULE: &str = "wasi_snapshot_preview1";

/// The type of an offered import.
#[derive(Debug, Clone, Copy)]
pub struct OfferedImport {
    params: &'static [ValType],
    results: &'static [ValType],
}

impl OfferedImport {
    pub(crate) fn matches(&self, params: &[ValType], results: &[ValType]) -> bool {
        self.params == params && self.results == results
    }
}

/// The type of `module.name`; `None` when it is not offered.
#[must_use]
pub fn offered_import(module: &str, name: &str) -> Option<OfferedImport> {
    const I32: ValType = ValType::I32;
    match (module, name) {
        (abi::IMPORT_MODULE, abi::IMPORT_LOG) => Some(OfferedImport {
            params: &[I32, I32, I32],
            results: &[],
        }),
        (abi::IMPORT_MODULE, abi::IMPORT_PANIC) => Some(OfferedImport {
            params: &[I32, I32],
            results: &[],
        }),
        (abi::IMPORT_MODULE, abi::IMPORT_TABLE_GET) => Some(OfferedImport {
            params: &[I32, I32, I32, I32, I32, I32],
            results: &[ValType::I64],
        }),
        (abi::IMPORT_MODULE, abi::IMPORT_HTTP_CALL) => Some(OfferedImport {
            params: &[ValType::I64, I32, I32, I32, I32, I32],
            results: &[ValType::I64],
        }),
        (abi::IMPORT_MODULE, abi::IMPORT_KEY_VALUE_GET) => Some(OfferedImport {
            params: &[I32, I32, I32, I32],
            results: &[ValType::I64],
        }),
        (abi::IMPORT_MODULE, abi::IMPORT_KEY_VALUE_PUT) => Some(OfferedImport {
            params: &[ValType::I64, I32, I32],
            results: &[I32],
        }),
        (WASI_MODULE, name) => of_wasi(name),
        _ => None,
    }
}

/// What to do about an import from `module` that is not offered.
pub(crate) fn hint(module: &str) -> &'static str {
    match module {
        abi::IMPORT_MODULE => "upgrade the cluster or rebuild with an SDK of its version",
        WASI_MODULE => "SmartModules have no files, no network and no environment",
        "env" => "a symbol was left to the linker; remove the C dependency that needs it",
        "wbg" | "__wbindgen_placeholder__" => {
            "a dependency expects a browser; turn off its JavaScript feature"
        }
        _ => "SmartModules import from `thalweg` and a part of WASI preview 1 alone",
    }
}

/// The type of WASI's `name`; `None` when it is not offered.
fn of_wasi(name: &str) -> Option<OfferedImport> {
    const I32: ValType = ValType::I32;
    const I64: ValType = ValType::I64;
    let params: &'static [ValType] = match name {
        "proc_exit" => {
            return Some(OfferedImport {
                params: &[I32],
                results: &[],
            });
        }
        "sched_yield" => &[],
        "fd_close" => &[I32],
        "args_get"
        | "args_sizes_get"
        | "environ_get"
        | "environ_sizes_get"
        | "random_get"
        | "clock_res_get"
        | "fd_fdstat_get"
        | "fd_prestat_get"
        | "fd_fdstat_set_flags" => &[I32, I32],
        "fd_prestat_dir_name" => &[I32, I32, I32],
        "clock_time_get" => &[I32, I64, I32],
        "fd_write" | "fd_read" | "poll_oneoff" => &[I32, I32, I32, I32],
        "fd_seek" => &[I32, I64, I32, I32],
        _ => return None,
    };
    Some(OfferedImport {
        params,
        results: &[I32],
    })
}
