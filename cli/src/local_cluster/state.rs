//! `cluster.json`: what a local cluster consists of and where it runs.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::process::ProcessIdentity;
use crate::error::CliError;

/// The version of `cluster.json` that this program writes.
const FORMAT_VERSION: u32 = 1;

/// A cluster's directory and what its `cluster.json` says.
#[derive(Debug)]
pub(crate) struct LocalCluster {
    /// The directory, absolute.
    pub(crate) data_dir: PathBuf,
    /// What runs in it.
    pub(crate) state: ClusterState,
    /// Held by commands that change the cluster.
    _lock: Option<File>,
}

/// What is in `cluster.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClusterState {
    format_version: u32,
    /// The controller.
    pub(crate) sc: Server,
    /// The SPUs; the position is the id.
    pub(crate) spus: Vec<Server>,
}

/// One server of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Its port on 127.0.0.1; 0 until it has first run, for the system to choose.
    pub(crate) port: u16,
    /// Where it serves its metrics on 127.0.0.1; 0 as above, and where it serves none.
    #[serde(default)]
    pub(crate) metrics_port: u16,
    /// The process that was last started for it.
    pub(crate) process: Option<ProcessIdentity>,
}

impl LocalCluster {
    /// The cluster in `data_dir`, to look at.
    pub(crate) fn read(data_dir: &Path) -> Result<Self, CliError> {
        let path = data_dir.join("cluster.json");
        let text = fs::read_to_string(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => CliError::not_found(format!(
                "{} is not the directory of a cluster",
                data_dir.display()
            ))
            .next_step(
                "name the directory with --data-dir, or make one with `thalweg cluster start`",
            ),
            _ => CliError::from(error).context(format!("failed to read {}", path.display())),
        })?;
        let state: ClusterState = serde_json::from_str(&text)
            .with_context(|| format!("{} can't be understood", path.display()))?;
        if state.format_version != FORMAT_VERSION {
            let error = anyhow!(
                "{} has format {}, this program knows {FORMAT_VERSION}",
                path.display(),
                state.format_version
            );
            return Err(CliError::from(error).next_step("use the version of thalweg that wrote it"));
        }
        Ok(Self {
            data_dir: fs::canonicalize(data_dir)?,
            state,
            _lock: None,
        })
    }

    /// The cluster in `data_dir`, to change.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, CliError> {
        // Asked first, so that no lock file is left where no cluster is.
        Self::read(data_dir)?;
        let lock = lock(data_dir)?;
        let cluster = Self::read(data_dir)?;
        Ok(Self {
            _lock: Some(lock),
            ..cluster
        })
    }

    /// The cluster in `data_dir`, to change; a new one where there is nothing yet.
    pub(crate) fn open_or_create(data_dir: &Path) -> Result<Self, CliError> {
        let failed = || format!("failed to make the directory {}", data_dir.display());
        fs::create_dir_all(data_dir).with_context(failed)?;
        let is_known =
            data_dir.join("cluster.json").exists() || data_dir.join("cluster.lock").exists();
        if !is_known
            && fs::read_dir(data_dir)
                .with_context(failed)?
                .next()
                .is_some()
        {
            let error = anyhow!("{} is not empty and holds no cluster", data_dir.display());
            return Err(CliError::usage(error).next_step("name another directory with --data-dir"));
        }
        let lock = lock(data_dir)?;
        if data_dir.join("cluster.json").exists() {
            let cluster = Self::read(data_dir)?;
            return Ok(Self {
                _lock: Some(lock),
                ..cluster
            });
        }
        let cluster = Self {
            data_dir: fs::canonicalize(data_dir)?,
            state: ClusterState {
                format_version: FORMAT_VERSION,
                sc: Server::default(),
                spus: Vec::new(),
            },
            _lock: Some(lock),
        };
        cluster.save()?;
        Ok(cluster)
    }

    /// Writes `cluster.json`, in one step.
    pub(crate) fn save(&self) -> Result<(), CliError> {
        let path = self.data_dir.join("cluster.json");
        let failed = || format!("failed to write {}", path.display());
        let mut file = tempfile::NamedTempFile::new_in(&self.data_dir).with_context(failed)?;
        let text = serde_json::to_string_pretty(&self.state).with_context(failed)?;
        writeln!(file, "{text}").with_context(failed)?;
        file.persist(&path).with_context(failed)?;
        Ok(())
    }

    /// Every server with its name (`sc`, `spu-0`, ...), the controller first.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (String, &Server)> {
        let spus = self.state.spus.iter().enumerate();
        std::iter::once(("sc".to_owned(), &self.state.sc))
            .chain(spus.map(|(id, spu)| (spu_name(id), spu)))
    }
}

impl Server {
    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(ProcessIdentity::is_running)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where Prometheus fetches its metrics, if it serves any.
    pub(crate) fn metrics_url(&self) -> Option<String> {
        (self.metrics_port != 0).then(|| format!("http://127.0.0.1:{}/metrics", self.metrics_port))
    }
}

/// The name of an SPU's folder and log.
pub(crate) fn spu_name(id: usize) -> String {
    format!("spu-{id}")
}

/// Waits until no other command changes the cluster in `data_dir`.
fn lock(data_dir: &Path) -> Result<File, CliError> {
    let path = data_dir.join("cluster.lock");
    let failed = || format!("failed to lock {}", path.display());
    let file = File::create(&path).with_context(failed)?;
    rustix::fs::flock(&file, FlockOperation::LockExclusive).with_context(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut cluster = LocalCluster::open_or_create(folder.path()).unwrap();
        cluster.state.sc.port = 4711;
        cluster.state.spus.push(Server::default());
        cluster.save().unwrap();

        let read = LocalCluster::read(folder.path()).unwrap();

        assert_eq!(read.state, cluster.state);
        let names: Vec<_> = read.servers().map(|(name, _)| name).collect();
        assert_eq!(names, ["sc", "spu-0"]);
    }

    #[test]
    fn a_directory_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();

        assert!(LocalCluster::open_or_create(folder.path()).is_err());
        assert!(LocalCluster::open(folder.path()).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_newer_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        LocalCluster::open_or_create(folder.path()).unwrap();
        let path = folder.path().join("cluster.json");
        let newer = fs::read_to_string(&path)
            .unwrap()
            .replace("\"format_version\": 1", "\"format_version\": 2");
        fs::write(&path, newer).unwrap();

        let error = LocalCluster::read(folder.path()).unwrap_err();

        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
