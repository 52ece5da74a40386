//! What compaction is made of: the map of the newest offset of each key, the rule for one batch,
//! the file that takes what is kept, and the note of how far a log is compacted.
//!
//! `log::clean` puts them together. Nothing here knows of a log's locks.

mod batch_filter;
mod cleaned_file;
mod cleaned_to;
mod offset_map;
mod swap;

pub(crate) use batch_filter::{BatchFilter, Filtered, Removed};
pub(crate) use cleaned_file::{CleanedFile, Written};
pub(crate) use cleaned_to::CleanedTo;
pub(crate) use offset_map::OffsetMap;
pub(crate) use swap::{CLEANED_SUFFIX, SwapFile, Undecided, finish_swaps};
