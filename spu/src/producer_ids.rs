//! The identities of idempotent producers: numbers that nobody else in the cluster gets.
//!
//! The SC gives blocks of them. What is left of the blocks is kept on disk, so that producers can
//! start while the SC is down. Before numbers are handed out the file says that they are gone: a
//! crash wastes a few and never repeats one.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_types::{ProducerEpoch, ProducerId};
use tokio::sync::Mutex;
use tracing::debug;

use crate::admin::{AdminError, AdminForward};
use crate::atomic_file::write_atomically;

/// The name of the file in the data directory.
pub(crate) const FILE_NAME: &str = "producer-ids.json";
const FORMAT_VERSION: u32 = 1;
/// How many numbers are taken from the file at a time: what a crash wastes.
const CLAIM_COUNT: i64 = 100;
/// Below this many left the SC is asked for more.
const RESERVE_COUNT: i64 = 500;

/// Why there is no identity for a producer.
#[derive(Debug, thiserror::Error)]
pub enum ProducerIdsError {
    /// The reserve is used up, and the SC does not answer.
    #[error("no producer ids are left on this SPU, and the SC gave no more")]
    Exhausted(#[source] AdminError),
    /// The file could not be read or written.
    #[error("failed to keep producer ids in `{path}`")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A later version of Thalweg wrote the file.
    #[error(
        "`{path}` has format version {found}, and this version of Thalweg reads up to {FORMAT_VERSION}: upgrade it"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The file is not what this program wrote.
    #[error(
        "`{path}` does not hold producer ids; remove it while the SPU is down, the SC will give new ones"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Hands out the identities of producers.
pub struct ProducerIds {
    state: Mutex<ProducerIdsState>,
    admin: Arc<AdminForward>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct ProducerIdsState {
    /// Gone from the file, and not handed out yet.
    claimed: Range<i64>,
    /// What the file holds.
    kept: Kept,
}

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format_version: u32,
    blocks: VecDeque<Range<i64>>,
}

/// Only the version, so that a later format is recognised whatever else it holds.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

impl Kept {
    fn parse(bytes: &[u8], path: &Path) -> Result<Self, ProducerIdsError> {
        let damaged = |source| ProducerIdsError::Damaged {
            path: path.to_owned(),
            source,
        };
        let Version { format_version } = serde_json::from_slice(bytes).map_err(damaged)?;
        if format_version > FORMAT_VERSION {
            return Err(ProducerIdsError::NewerFormat {
                path: path.to_owned(),
                found: format_version,
            });
        }
        serde_json::from_slice(bytes).map_err(damaged)
    }

    fn count(&self) -> i64 {
        self.blocks
            .iter()
            .map(|block| block.end - block.start)
            .sum()
    }

    /// Takes up to [`CLAIM_COUNT`] numbers out.
    fn claim(&mut self) -> Option<Range<i64>> {
        let block = self.blocks.front_mut()?;
        let end = block.end.min(block.start + CLAIM_COUNT);
        let claimed = block.start..end;
        block.start = end;
        if block.is_empty() {
            self.blocks.pop_front();
        }
        Some(claimed)
    }
}

impl ProducerIds {
    /// Reads what is left from the last run out of `data_dir`.
    ///
    /// # Errors
    /// When the file is there and can't be read.
    pub fn open(data_dir: &Path, admin: Arc<AdminForward>) -> Result<Self, ProducerIdsError> {
        let path = data_dir.join(FILE_NAME);
        let kept = match std::fs::read(&path) {
            Ok(bytes) => Kept::parse(&bytes, &path)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept::default(),
            Err(source) => return Err(ProducerIdsError::File { path, source }),
        };
        Ok(Self {
            state: Mutex::new(ProducerIdsState {
                claimed: 0..0,
                kept,
            }),
            admin,
            path,
        })
    }

    /// A new identity. Waits for the disk or the SC once in a while.
    ///
    /// # Errors
    /// When none is left and the SC does not answer, or when the disk fails.
    pub async fn next(&self) -> Result<(ProducerId, ProducerEpoch), ProducerIdsError> {
        let mut state = self.state.lock().await;
        if state.claimed.is_empty() {
            self.claim(&mut state).await?;
        }
        let id = state.claimed.start;
        state.claimed.start += 1;
        Ok((ProducerId(id), ProducerEpoch(0)))
    }

    /// Asks the SC for a block when little is left. The control client calls it when it has a
    /// stream to the SC.
    ///
    /// # Errors
    /// When the SC does not answer, or the disk fails.
    pub async fn fill_reserve(&self) -> Result<(), ProducerIdsError> {
        let mut state = self.state.lock().await;
        while state.kept.count() < RESERVE_COUNT {
            self.allocate(&mut state).await?;
        }
        Ok(())
    }

    async fn claim(&self, state: &mut ProducerIdsState) -> Result<(), ProducerIdsError> {
        if state.kept.count() < RESERVE_COUNT
            && let Err(error) = self.allocate(state).await
        {
            if state.kept.count() == 0 {
                return Err(error);
            }
            debug!(%error, "taking producer ids from the reserve");
        }
        let mut kept = state.kept.clone();
        let claimed = kept.claim().unwrap_or(0..0);
        self.keep(&kept).await?;
        state.kept = kept;
        state.claimed = claimed;
        Ok(())
    }

    async fn allocate(&self, state: &mut ProducerIdsState) -> Result<(), ProducerIdsError> {
        let block = self
            .admin
            .allocate_producer_ids()
            .await
            .map_err(ProducerIdsError::Exhausted)?;
        let mut kept = state.kept.clone();
        kept.format_version = FORMAT_VERSION;
        kept.blocks.push_back(block);
        self.keep(&kept).await?;
        state.kept = kept;
        Ok(())
    }

    async fn keep(&self, kept: &Kept) -> Result<(), ProducerIdsError> {
        let bytes = serde_json::to_vec(kept).expect("numbers can be written as JSON");
        write_atomically(self.path.clone(), bytes)
            .await
            .map_err(|source| ProducerIdsError::File {
                path: self.path.clone(),
                source,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(first: Range<i64>, second: Range<i64>) -> Kept {
        Kept {
            format_version: 1,
            blocks: VecDeque::from([first, second]),
        }
    }

    fn unreachable_sc() -> Arc<AdminForward> {
        // Port 1 is never listened on.
        Arc::new(AdminForward::new("127.0.0.1:1", None, thalweg_types::SpuId(0)).unwrap())
    }

    #[tokio::test]
    async fn the_reserve_serves_without_an_sc_and_a_restart_never_repeats_a_number() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE_NAME);
        std::fs::write(
            &file,
            serde_json::to_vec(&kept(1000..1200, 1200..1300)).unwrap(),
        )
        .unwrap();

        let before = ProducerIds::open(dir.path(), unreachable_sc()).unwrap();
        assert_eq!(before.next().await.unwrap().0, ProducerId(1000));
        assert_eq!(before.next().await.unwrap().0, ProducerId(1001));
        drop(before);

        let after = ProducerIds::open(dir.path(), unreachable_sc()).unwrap();
        assert_eq!(after.next().await.unwrap().0, ProducerId(1100));
    }

    #[tokio::test]
    async fn without_reserve_and_sc_there_is_a_clear_error() {
        let dir = tempfile::tempdir().unwrap();
        let ids = ProducerIds::open(dir.path(), unreachable_sc()).unwrap();

        let error = ids.next().await.unwrap_err();

        assert!(matches!(error, ProducerIdsError::Exhausted(_)), "{error}");
    }

    #[tokio::test]
    async fn the_documented_example_is_read_and_a_newer_format_refused() {
        let page = include_str!("../../docs/formats/spu-state.md");
        let example = page.split("```json\n").nth(2).unwrap();
        let example = example.split("```").next().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), example).unwrap();
        let ids = ProducerIds::open(dir.path(), unreachable_sc()).unwrap();
        assert_eq!(ids.next().await.unwrap().0, ProducerId(1100));

        let newer = example.replace(": 1,", ": 2,");
        std::fs::write(dir.path().join(FILE_NAME), newer).unwrap();
        let error = ProducerIds::open(dir.path(), unreachable_sc())
            .err()
            .unwrap();
        assert!(matches!(
            error,
            ProducerIdsError::NewerFormat { found: 2, .. }
        ));
    }

    #[tokio::test]
    async fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "{}x").unwrap();

        let error = ProducerIds::open(dir.path(), unreachable_sc())
            .err()
            .unwrap();

        assert!(error.to_string().contains(FILE_NAME), "{error}");
    }

    #[test]
    fn a_claim_ends_with_its_block() {
        let mut kept = kept(0..30, 500..700);

        assert_eq!(kept.claim(), Some(0..30));
        assert_eq!(kept.claim(), Some(500..600));
        assert_eq!(kept.count(), 100);
    }
}
