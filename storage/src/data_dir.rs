//! The folder that one SPU keeps everything in. See `docs/formats/data-directory.md`.
//!
//! Opened once by the SPU's `main`, before anything else. It belongs to one SPU process (a lock
//! says so), one SPU id and, once claimed, one cluster.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use thalweg_types::{ClusterId, PartitionId, PartitionIndex, SpuId, TopicId};
use uuid::Uuid;

use crate::files::{LogFiles, StdFiles};

/// The newest layout of the data directory that this code reads and the one that it writes.
const FORMAT_VERSION: u32 = 1;

/// What ends the name of a partition's folder that is being deleted.
const DELETED_SUFFIX: &str = ".deleted";

/// Who opens a data directory.
#[derive(Debug, Clone, Copy)]
pub struct OpenDataDir {
    /// The SPU's id; a directory of another SPU is refused.
    pub spu_id: SpuId,
}

/// The folder of one SPU, locked as long as this lives.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Mutex<Identity>,
    /// Holds the lock; the operating system lets go of it when the process ends, however it ends.
    _lock: File,
}

/// What `spu.json` holds.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Identity {
    format_version: u32,
    cluster_id: Option<ClusterId>,
    spu_id: SpuId,
    directory_id: Uuid,
}

/// Why a data directory can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error("data directory `{}` is in use by another process: stop that SPU or choose another directory", path.display())]
    Locked {
        /// The data directory.
        path: PathBuf,
    },
    /// It belongs to another SPU.
    #[error("data directory `{}` belongs to SPU {found}, not to SPU {expected}: start with `--id {found}` or choose another directory", path.display())]
    OtherSpu {
        /// The data directory.
        path: PathBuf,
        /// The id in it.
        found: SpuId,
        /// The id that was asked for.
        expected: SpuId,
    },
    /// It belongs to another cluster.
    #[error("data directory `{}` belongs to cluster `{found}`, not to `{expected}`: point the SPU at that cluster's SC or choose another directory", path.display())]
    OtherCluster {
        /// The data directory.
        path: PathBuf,
        /// The cluster in it.
        found: ClusterId,
        /// The cluster that was asked for.
        expected: ClusterId,
    },
    /// A later version of Thalweg wrote it.
    #[error("data directory `{}` has format version {found}, and this version of Thalweg reads up to {FORMAT_VERSION}: upgrade it", path.display())]
    NewerFormat {
        /// The data directory.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// `spu.json` can't be understood.
    #[error("`{}` is damaged: restore it, or move the directory away and let the SPU be refilled", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file operation failed.
    #[error("failed to {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// Only the version, so that a later format is recognised whatever else it holds.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

impl DataDir {
    /// Opens a data directory, making it when it is missing, and locks it.
    ///
    /// # Errors
    /// When it is in use, another SPU's, of a later version, damaged, or can't be made.
    pub fn open(path: impl Into<PathBuf>, options: OpenDataDir) -> Result<Self, DataDirError> {
        let path = path.into();
        let partitions = path.join("partitions");
        fs::create_dir_all(&partitions).map_err(failed_to("make", &partitions))?;
        let lock = lock(&path)?;

        let identity = match load_identity(&path)? {
            Some(identity) if identity.spu_id != options.spu_id => {
                return Err(DataDirError::OtherSpu {
                    found: identity.spu_id,
                    expected: options.spu_id,
                    path,
                });
            }
            Some(identity) => identity,
            None => {
                let identity = Identity {
                    format_version: FORMAT_VERSION,
                    cluster_id: None,
                    spu_id: options.spu_id,
                    directory_id: Uuid::new_v4(),
                };
                store_identity(&path, &identity)?;
                sync_name(&path)?;
                identity
            }
        };
        let data_dir = Self {
            path,
            identity: Mutex::new(identity),
            _lock: lock,
        };
        data_dir.finish_removals()?;
        Ok(data_dir)
    }

    /// The cluster that the directory belongs to; `None` until it is claimed.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.identity().cluster_id
    }

    /// The directory's own id, made when it was made.
    pub fn directory_id(&self) -> Uuid {
        self.identity().directory_id
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory the cluster's, for ever.
    ///
    /// # Errors
    /// When it is another cluster's, or can't be written.
    pub fn claim(&self, cluster_id: ClusterId) -> Result<(), DataDirError> {
        let mut identity = self.identity.lock().unwrap_or_else(PoisonError::into_inner);
        match identity.cluster_id {
            Some(found) if found == cluster_id => Ok(()),
            Some(found) => Err(DataDirError::OtherCluster {
                path: self.path.clone(),
                found,
                expected: cluster_id,
            }),
            None => {
                let claimed = Identity {
                    cluster_id: Some(cluster_id),
                    ..identity.clone()
                };
                store_identity(&self.path, &claimed)?;
                *identity = claimed;
                Ok(())
            }
        }
    }

    /// The folder of a partition's log, which need not exist yet.
    pub fn partition_path(&self, id: PartitionId) -> PathBuf {
        self.partitions_path().join(id.to_string())
    }

    /// The partitions that have a folder, in no order.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn partitions(&self) -> Result<Vec<PartitionId>, DataDirError> {
        Ok(self
            .folder_names()?
            .iter()
            .filter_map(|name| parse_partition_id(name))
            .collect())
    }

    /// Deletes a partition's folder. It is renamed first, so that a crash half-way leaves no
    /// partition that looks whole. One that is missing is no error.
    ///
    /// # Errors
    /// When the folder can't be renamed or deleted.
    pub fn remove_partition(&self, id: PartitionId) -> Result<(), DataDirError> {
        let path = self.partition_path(id);
        let doomed = self
            .partitions_path()
            .join(format!("{id}.{}{DELETED_SUFFIX}", Uuid::new_v4()));
        match fs::rename(&path, &doomed) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(failed_to("rename", &path)(source)),
        }
        let partitions = self.partitions_path();
        StdFiles
            .sync_folder(&partitions)
            .map_err(failed_to("sync", &partitions))?;
        fs::remove_dir_all(&doomed).map_err(failed_to("delete", &doomed))
    }

    /// Deletes what a crash left of removed partitions.
    fn finish_removals(&self) -> Result<(), DataDirError> {
        for name in self.folder_names()? {
            if name.ends_with(DELETED_SUFFIX) {
                let doomed = self.partitions_path().join(name);
                fs::remove_dir_all(&doomed).map_err(failed_to("delete", &doomed))?;
            }
        }
        Ok(())
    }

    fn partitions_path(&self) -> PathBuf {
        self.path.join("partitions")
    }

    fn folder_names(&self) -> Result<Vec<String>, DataDirError> {
        let path = self.partitions_path();
        let failed = failed_to("list", &path);
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(&failed)? {
            // A name that is no text can't be one of ours.
            if let Ok(name) = entry.map_err(&failed)?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn identity(&self) -> Identity {
        self.identity
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

fn lock(path: &Path) -> Result<File, DataDirError> {
    let lock_path = path.join("lock");
    let file = File::create(&lock_path).map_err(failed_to("make", &lock_path))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(DataDirError::Locked {
            path: path.to_owned(),
        }),
        Err(error) => Err(failed_to("lock", &lock_path)(error.into())),
    }
}

fn load_identity(path: &Path) -> Result<Option<Identity>, DataDirError> {
    let file = path.join("spu.json");
    let Some(content) = StdFiles.read(&file).map_err(failed_to("read", &file))? else {
        return Ok(None);
    };
    let damaged = |source| DataDirError::Damaged {
        path: file.clone(),
        source,
    };
    let Version { format_version } = serde_json::from_slice(&content).map_err(damaged)?;
    if format_version > FORMAT_VERSION {
        return Err(DataDirError::NewerFormat {
            path: path.to_owned(),
            found: format_version,
        });
    }
    serde_json::from_slice(&content).map(Some).map_err(damaged)
}

fn store_identity(path: &Path, identity: &Identity) -> Result<(), DataDirError> {
    let file = path.join("spu.json");
    let content = serde_json::to_vec_pretty(identity).expect("ids and numbers are always JSON");
    StdFiles
        .replace(&file, &content, true)
        .map_err(failed_to("write", &file))
}

fn failed_to<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> DataDirError + 'a {
    move |source| DataDirError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

/// `<topic-id>-<partition>`, the reverse of `PartitionId`'s text.
/// Makes sure that the name of a data directory, which may just have been made, is on the disk.
fn sync_name(path: &Path) -> Result<(), DataDirError> {
    let whole = fs::canonicalize(path).map_err(failed_to("find", path))?;
    // The root of a file system has a name for ever.
    let Some(parent) = whole.parent() else {
        return Ok(());
    };
    match StdFiles.sync_folder(parent) {
        // Whoever may not list it has not made anything in it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        synced => synced.map_err(failed_to("sync", parent)),
    }
}

fn parse_partition_id(name: &str) -> Option<PartitionId> {
    let (topic, partition) = name.rsplit_once('-')?;
    Some(PartitionId {
        topic: topic.parse::<TopicId>().ok()?,
        partition: partition.parse::<PartitionIndex>().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: OpenDataDir = OpenDataDir { spu_id: SpuId(1) };

    fn partition(number: i32) -> PartitionId {
        PartitionId {
            topic: TopicId(Uuid::from_u128(7)),
            partition: PartitionIndex(number),
        }
    }

    #[test]
    fn a_directory_in_use_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = DataDir::open(folder.path(), FIRST).unwrap();

        let error = DataDir::open(folder.path(), FIRST).unwrap_err();
        assert!(matches!(error, DataDirError::Locked { .. }), "{error}");

        drop(first);
        DataDir::open(folder.path(), FIRST).unwrap();
    }

    #[test]
    fn a_directory_of_another_spu_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path(), FIRST).unwrap());

        let error = DataDir::open(folder.path(), OpenDataDir { spu_id: SpuId(2) }).unwrap_err();

        assert!(error.to_string().contains("belongs to SPU 1"), "{error}");
    }

    #[test]
    fn a_directory_is_claimed_once_and_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let ours = ClusterId(Uuid::from_u128(1));
        let data_dir = DataDir::open(folder.path(), FIRST).unwrap();
        let directory_id = data_dir.directory_id();
        assert_eq!(data_dir.cluster_id(), None);
        data_dir.claim(ours).unwrap();
        drop(data_dir);

        let data_dir = DataDir::open(folder.path(), FIRST).unwrap();

        assert_eq!(data_dir.cluster_id(), Some(ours));
        assert_eq!(data_dir.directory_id(), directory_id);
        data_dir.claim(ours).unwrap();
        let error = data_dir.claim(ClusterId(Uuid::from_u128(2))).unwrap_err();
        assert!(
            matches!(error, DataDirError::OtherCluster { .. }),
            "{error}"
        );
    }

    #[test]
    fn a_newer_format_is_refused_whatever_it_holds() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(
            folder.path().join("spu.json"),
            r#"{"format_version": 2, "x": 1}"#,
        )
        .unwrap();

        let error = DataDir::open(folder.path(), FIRST).unwrap_err();

        assert!(
            matches!(error, DataDirError::NewerFormat { found: 2, .. }),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_identity_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("spu.json"), "{").unwrap();

        let error = DataDir::open(folder.path(), FIRST).unwrap_err();

        assert!(matches!(error, DataDirError::Damaged { .. }), "{error}");
    }

    #[test]
    fn partitions_are_listed_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = DataDir::open(folder.path(), FIRST).unwrap();
        for number in 0..2 {
            fs::create_dir(data_dir.partition_path(partition(number))).unwrap();
        }
        fs::create_dir(folder.path().join("partitions/lost+found")).unwrap();

        data_dir.remove_partition(partition(0)).unwrap();
        data_dir.remove_partition(partition(0)).unwrap();

        assert_eq!(data_dir.partitions().unwrap(), vec![partition(1)]);
    }

    #[test]
    fn a_removal_that_a_crash_cut_short_is_finished() {
        let folder = tempfile::tempdir().unwrap();
        drop(DataDir::open(folder.path(), FIRST).unwrap());
        let half = folder.path().join("partitions/x.deleted");
        fs::create_dir(&half).unwrap();

        DataDir::open(folder.path(), FIRST).unwrap();

        assert!(!half.exists());
    }
}
