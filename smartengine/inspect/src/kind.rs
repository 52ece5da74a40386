//! The function that a module exports by its kind.

use thalweg_smartmodule_abi as abi;
use thalweg_types::resource::SmartModuleKind;

/// The function that a module of this kind exports.
#[must_use]
pub const fn kind_export(kind: SmartModuleKind) -> &'static str {
    match kind {
        SmartModuleKind::Filter => abi::EXPORT_FILTER,
        SmartModuleKind::Map => abi::EXPORT_MAP,
        SmartModuleKind::FilterMap => abi::EXPORT_FILTER_MAP,
        SmartModuleKind::ArrayMap => abi::EXPORT_ARRAY_MAP,
        SmartModuleKind::Aggregate => abi::EXPORT_AGGREGATE,
    }
}
