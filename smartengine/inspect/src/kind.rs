//! What a SmartModule does with a record, as its one kind export says.

use std::fmt;

use thalweg_smartmodule_abi as abi;

/// What a SmartModule does with a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SmartModuleKind {
    /// Keeps or drops each record.
    Filter,
    /// Turns each record into one.
    Map,
    /// Turns each record into one or none.
    FilterMap,
    /// Turns each record into any number.
    ArrayMap,
    /// Turns each record into the accumulator that it results in.
    Aggregate,
}

impl SmartModuleKind {
    /// Every kind there is.
    pub const ALL: [Self; 5] = [
        Self::Filter,
        Self::Map,
        Self::FilterMap,
        Self::ArrayMap,
        Self::Aggregate,
    ];

    /// The kind's name: `filter`, `map`, `filter_map`, `array_map`, `aggregate`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FilterMap => "filter_map",
            Self::ArrayMap => "array_map",
            Self::Aggregate => "aggregate",
        }
    }

    /// The function that a module of this kind exports.
    #[must_use]
    pub const fn export(self) -> &'static str {
        match self {
            Self::Filter => abi::EXPORT_FILTER,
            Self::Map => abi::EXPORT_MAP,
            Self::FilterMap => abi::EXPORT_FILTER_MAP,
            Self::ArrayMap => abi::EXPORT_ARRAY_MAP,
            Self::Aggregate => abi::EXPORT_AGGREGATE,
        }
    }
}

impl fmt::Display for SmartModuleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
