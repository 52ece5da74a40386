//! The data directory around the rows: who has it open, whose it is, and in which format.
//!
//! `sc.json` can be read by any version, whatever becomes of the rows' engine.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};
use thalweg_types::ClusterId;

use super::OpenError;

/// The format of the data directory that this version writes.
pub const FORMAT_VERSION: u32 = 1;

const IDENTITY_FILE: &str = "sc.json";
const LOCK_FILE: &str = "lock";

/// Keeps other processes out for as long as it lives. The kernel lets go of it when the process
/// dies, however that comes about.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    _file: File,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    format_version: u32,
    cluster_id: ClusterId,
}

/// What every format has.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Format {
    format_version: u32,
}

impl DirectoryLock {
    /// Makes the directory where there is none, and locks it.
    pub(super) fn take(directory: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(directory).map_err(|error| OpenError::io(directory, error))?;
        let path = directory.join(LOCK_FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| OpenError::io(&path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(OpenError::Locked {
                path: directory.to_owned(),
            }),
            Err(TryLockError::Error(error)) => Err(OpenError::io(&path, error)),
        }
    }
}

/// The cluster that the directory belongs to; `None` for a new directory.
pub(super) fn read_identity(directory: &Path) -> Result<Option<ClusterId>, OpenError> {
    let path = directory.join(IDENTITY_FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(OpenError::io(&path, error)),
    };
    let damaged = |error: serde_json::Error| OpenError::Corrupt {
        path: directory.to_owned(),
        reason: format!("`{IDENTITY_FILE}` can't be read: {error}"),
    };
    // The format first: a newer one may have changed everything else.
    let format: Format = serde_json::from_slice(&bytes).map_err(damaged)?;
    if format.format_version > FORMAT_VERSION {
        return Err(OpenError::Newer {
            path: directory.to_owned(),
            found: format.format_version,
            known: FORMAT_VERSION,
        });
    }
    let identity: Identity = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(Some(identity.cluster_id))
}

/// Writes down whose directory it is: whole or not at all.
pub(super) fn write_identity(directory: &Path, cluster_id: ClusterId) -> Result<(), OpenError> {
    let path = directory.join(IDENTITY_FILE);
    let fail = |error| OpenError::io(&path, error);
    let identity = Identity {
        format_version: FORMAT_VERSION,
        cluster_id,
    };
    let text = serde_json::to_vec_pretty(&identity).expect("numbers and text only");
    let draft = directory.join(".sc.json.draft");
    let mut file = File::create(&draft).map_err(fail)?;
    file.write_all(&text).map_err(fail)?;
    file.sync_all().map_err(fail)?;
    fs::rename(&draft, &path).map_err(fail)?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(fail)
}
