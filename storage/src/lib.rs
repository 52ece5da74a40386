//! The immutable log of one partition: segments, indexes, recovery, retention. Synchronous.
//!
//! [`Log`] is the whole of a replica's data; [`DataDir`] is the folder that the logs of one SPU
//! live in; [`StorageThreads`] are the threads that write and sync for all of them. The crate
//! names no tokio, and never reads the clock: whoever needs the time passes it in.
//! The bytes on disk are specified in `docs/formats/segment.md` and
//! `docs/formats/data-directory.md`.
#![forbid(unsafe_code)]

mod append;
mod batch_walk;
mod checked_file;
mod checkpoint;
mod compaction;
mod damage;
mod data_dir;
mod epoch_cache;
mod error;
mod files;
mod health;
mod locks;
mod log;
mod log_slice;
mod open_files;
mod options;
mod producer_state;
mod retention;
mod segment;
mod segment_index;
#[cfg(test)]
mod testing;
mod threads;
mod verified_ranges;

pub use append::{Append, AppendDone, Appended, FollowerAppend, KnownProducer, ProducerSequences};
pub use data_dir::{DataDir, DataDirError, OpenDataDir};
pub use error::{AppendError, LookupError, MaintainError, OpenError, ReadError};
pub use files::{LogFile, LogFiles, OpenMode, StdFiles};
pub use health::{LogHealth, LogListener, LogProgress};
pub use log::{CleanOptions, CleanPace, CleanReport, Dirtiness, Log};
pub use log_slice::{LogSlice, ScrubProgress};
pub use options::{CompactionOptions, LogOptions};
pub use threads::{StorageDriver, StorageThreads, StorageWork, ThreadOptions};
