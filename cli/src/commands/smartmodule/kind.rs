//! The kinds of SmartModule, as the command line names them.

use clap::ValueEnum;

/// What a SmartModule does with records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// Passes some records.
    Filter,
    /// Makes one record of each.
    Map,
    /// Makes one record of some.
    #[value(alias = "filter_map")]
    FilterMap,
    /// Makes any number of records of each.
    #[value(alias = "array_map")]
    ArrayMap,
    /// Folds records into an accumulator.
    Aggregate,
}

impl Kind {
    /// Its name in the attribute that authors write.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Map => "map",
            Self::FilterMap => "filter_map",
            Self::ArrayMap => "array_map",
            Self::Aggregate => "aggregate",
        }
    }
}
