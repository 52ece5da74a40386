//! Why a store could not be opened.

use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be opened. Nothing in the directory has changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error(
        "data directory `{path}` is in use by another SC; stop that one, or give this one a directory of its own",
        path = path.display()
    )]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// A newer version of the program wrote it.
    #[error(
        "data directory `{path}` has format {found}, this version reads up to {known}; start a newer version",
        path = path.display()
    )]
    Newer {
        /// The data directory.
        path: PathBuf,
        /// The format that it has.
        found: u32,
        /// The newest format that this version knows.
        known: u32,
    },
    /// What it holds can't be trusted.
    #[error(
        "data directory `{path}` is damaged: {reason}; restore it from a backup",
        path = path.display()
    )]
    Corrupt {
        /// The data directory.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The disk refused.
    #[error("failed to open data directory `{path}`", path = path.display())]
    Io {
        /// The data directory, or the file in it.
        path: PathBuf,
        /// What the disk said.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }

    pub(super) fn from_sled(error: sled::Error, directory: &Path) -> Self {
        match error {
            sled::Error::Io(source) => Self::io(directory, source),
            other => Self::Corrupt {
                path: directory.to_owned(),
                reason: other.to_string(),
            },
        }
    }
}
