//! Rows to and from sled; the layout is in `docs/formats/sc-data-directory.md`.
//!
//! Values are JSON: rows are few and small, people can read them in an emergency, and a field that
//! a later version adds does not trouble an older row.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use thalweg_types::ClusterId;
use thalweg_types::resource::{Resource, ResourceKey};
use uuid::Uuid;

use super::OpenError;
use crate::WatchEvent;
use crate::rows::{Counters, Plan};

/// Sled's own folder in the data directory.
pub(super) const ENGINE_FOLDER: &str = "metadata";

const CLUSTER_ID: &[u8] = b"meta/cluster-id";
const REVISION: &[u8] = b"meta/revision";
const CONTROLLER_EPOCH: &[u8] = b"meta/controller-epoch";
const PRODUCER_ID: &[u8] = b"meta/producer-id";
const ROWS: &str = "row/";

/// All that a store holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) rows: BTreeMap<ResourceKey, Resource>,
    pub(super) counters: Counters,
}

/// The cluster that the rows belong to: `known` from beside them, else a new one.
pub(super) fn identify(
    engine: &sled::Db,
    directory: &Path,
    known: Option<ClusterId>,
) -> Result<ClusterId, OpenError> {
    let fail = |error| OpenError::from_sled(error, directory);
    let stored = engine.get(CLUSTER_ID).map_err(fail)?;
    match (stored, known) {
        (Some(stored), known) => {
            let stored = std::str::from_utf8(&stored)
                .ok()
                .and_then(|text| text.parse::<ClusterId>().ok())
                .ok_or_else(|| corrupt(directory, "the cluster id can't be read"))?;
            match known {
                Some(known) if known != stored => Err(corrupt(
                    directory,
                    &format!("the rows belong to cluster {stored}, the directory to {known}"),
                )),
                _ => Ok(stored),
            }
        }
        // Starting empty under an old identity would tell SPUs to drop all that they hold.
        (None, Some(known)) => Err(corrupt(
            directory,
            &format!("the rows of cluster {known} are gone"),
        )),
        (None, None) => {
            let fresh = ClusterId(Uuid::new_v4());
            engine
                .insert(CLUSTER_ID, fresh.to_string().as_bytes())
                .map_err(fail)?;
            sync(engine, directory).map_err(fail)?;
            Ok(fresh)
        }
    }
}

/// Reads everything.
pub(super) fn load(engine: &sled::Db, directory: &Path) -> Result<Contents, OpenError> {
    let number = |key: &[u8]| match engine.get(key) {
        Err(error) => Err(OpenError::from_sled(error, directory)),
        Ok(None) => Ok(0),
        Ok(Some(bytes)) => <[u8; 8]>::try_from(bytes.as_ref())
            .map(u64::from_be_bytes)
            .map_err(|_| corrupt(directory, "a counter has not 8 bytes")),
    };
    let counters = Counters {
        revision: number(REVISION)?,
        controller_epoch: number(CONTROLLER_EPOCH)?,
        producer_id: number(PRODUCER_ID)?,
    };
    let mut rows = BTreeMap::new();
    for entry in engine.scan_prefix(ROWS) {
        let (key, value) = entry.map_err(|error| OpenError::from_sled(error, directory))?;
        let row: Resource = serde_json::from_slice(&value).map_err(|error| {
            let row = String::from_utf8_lossy(&key);
            corrupt(directory, &format!("row `{row}` can't be read: {error}"))
        })?;
        if row_key(&row.key()).as_bytes() != key.as_ref() {
            let found = String::from_utf8_lossy(&key);
            let reason = format!("row `{found}` holds {}", row.key());
            return Err(corrupt(directory, &reason));
        }
        rows.insert(row.key(), row);
    }
    Ok(Contents { rows, counters })
}

/// Writes what `plan` says, and returns once it is synced.
pub(super) fn persist<T>(
    engine: &sled::Db,
    directory: &Path,
    plan: &Plan<T>,
) -> Result<(), sled::Error> {
    let mut batch = sled::Batch::default();
    for change in &plan.changes {
        match change {
            WatchEvent::Upserted(resource) => {
                let value = serde_json::to_vec(resource)
                    .expect("a resource has text keys only, and no field of it fails");
                batch.insert(row_key(&resource.key()).as_bytes(), value);
            }
            WatchEvent::Deleted(key) => batch.remove(row_key(key).as_bytes()),
            WatchEvent::Snapshot(_) => unreachable!("plans hold changes only"),
        }
    }
    let Counters {
        revision,
        controller_epoch,
        producer_id,
    } = plan.counters;
    batch.insert(REVISION, &revision.to_be_bytes());
    batch.insert(CONTROLLER_EPOCH, &controller_epoch.to_be_bytes());
    batch.insert(PRODUCER_ID, &producer_id.to_be_bytes());
    engine.apply_batch(batch)?;
    sync(engine, directory)
}

/// Returns once everything that was written would survive a power cut.
///
/// sled's own flush ends with `sync_file_range`, which leaves the disk's cache and the file's size
/// alone, so the files are synced here once more.
fn sync(engine: &sled::Db, directory: &Path) -> Result<(), sled::Error> {
    engine.flush()?;
    let rows = directory.join(ENGINE_FOLDER);
    File::open(rows.join("db"))?.sync_data()?;
    // Where sled puts a value that is larger than its segments. Almost always empty.
    for blob in fs::read_dir(rows.join("blobs"))? {
        File::open(blob?.path())?.sync_all()?;
    }
    Ok(())
}

/// The key of a row: readable, and apart for every resource.
fn row_key(key: &ResourceKey) -> String {
    match key {
        ResourceKey::Topic(name) => format!("{ROWS}topic/{name}"),
        // No topic's name has a slash.
        ResourceKey::Partition(name) => {
            format!("{ROWS}partition/{}/{}", name.topic, name.partition)
        }
        ResourceKey::Spu(id) => format!("{ROWS}spu/{id}"),
        ResourceKey::SmartModule(name) => format!("{ROWS}smart-module/{name}"),
        ResourceKey::Transform(name) => format!("{ROWS}transform/{name}"),
    }
}

fn corrupt(directory: &Path, reason: &str) -> OpenError {
    OpenError::Corrupt {
        path: directory.to_owned(),
        reason: reason.to_owned(),
    }
}
