//! A setting in a file that another system writes and that may come late.
//!
//! Kubernetes mounts a ConfigMap's keys as files, and swaps a link when one changes. A key that is
//! added after the start appears by itself. Nothing tells of that which would work on every file
//! system, so a timer asks again, by the whole path, as links before the last name may be swapped too.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thalweg_runtime::blocking;
use tracing::info;

/// How often the file is looked at again. Whoever writes it takes longer.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// So many looks are between two lines of the log that say what is waited for: 30 seconds.
const LOOKS_BETWEEN_LINES: u32 = 60;

/// Why a mounted file is of no use.
#[derive(Debug, thiserror::Error)]
#[error("failed to read `{path}`, which `{flag}` names; check that this process may read it")]
pub struct MountedFileError {
    /// The file.
    path: PathBuf,
    /// What names it.
    flag: &'static str,
    source: io::Error,
}

/// A file and the flag that names it.
#[derive(Debug, Clone)]
pub(crate) struct MountedFile {
    path: PathBuf,
    flag: &'static str,
}

impl MountedFile {
    pub(crate) fn new(path: &Path, flag: &'static str) -> Self {
        Self {
            path: path.to_owned(),
            flag,
        }
    }

    /// Its text without white space around it; `None` while it is not there.
    pub(crate) async fn read(&self) -> Result<Option<String>, MountedFileError> {
        let path = self.path.clone();
        let read = blocking(move || std::fs::read_to_string(path)).await;
        // A task that was not run belongs to a runtime that is going away.
        let read = read.unwrap_or_else(|stopped| Err(io::Error::other(stopped)));
        match read {
            Ok(text) => Ok(Some(text.trim().to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(MountedFileError {
                path: self.path.clone(),
                flag: self.flag,
                source,
            }),
        }
    }

    /// Waits until it is there and `take` makes something of its text. Cancel-safe.
    pub(crate) async fn wait<T, E: From<MountedFileError>>(
        &self,
        take: impl Fn(&str) -> Result<Option<T>, E>,
    ) -> Result<T, E> {
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut look = 0_u32;
        loop {
            looks.tick().await;
            if let Some(text) = self.read().await?
                && let Some(taken) = take(&text)?
            {
                return Ok(taken);
            }
            if look.is_multiple_of(LOOKS_BETWEEN_LINES) {
                info!("{}", self.waited_for());
            }
            look = look.wrapping_add(1);
        }
    }

    /// What is waited for, in words.
    pub(crate) fn waited_for(&self) -> String {
        format!(
            "waiting for the file `{}`, which `{}` names, to be written",
            self.path.display(),
            self.flag
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &str) -> Result<Option<String>, MountedFileError> {
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    #[tokio::test]
    async fn a_file_that_comes_late_by_a_swapped_link_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for (folder, text) in [("first", ""), ("second", " spu-0.example:9092\n")] {
            std::fs::create_dir(at(folder)).unwrap();
            std::fs::write(at(folder).join("spu-0"), text).unwrap();
        }
        std::os::unix::fs::symlink("first", at("data")).unwrap();
        std::os::unix::fs::symlink("data/spu-0", at("spu-0")).unwrap();
        let file = MountedFile::new(&at("spu-0"), "--advertise-file");

        let looked = tokio::sync::Notify::new();
        let take = |text: &str| {
            looked.notify_one();
            some(text)
        };
        let swaps = async {
            looked.notified().await;
            std::os::unix::fs::symlink("second", at("next")).unwrap();
            std::fs::rename(at("next"), at("data")).unwrap();
        };
        let (found, ()) = tokio::join!(file.wait(take), swaps);

        assert_eq!(found.unwrap(), "spu-0.example:9092");
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named_with_its_flag() {
        let dir = tempfile::tempdir().unwrap();
        let file = MountedFile::new(dir.path(), "--rack-file");

        let error = file.wait(some).await.unwrap_err().to_string();

        assert!(error.contains("--rack-file"), "{error}");
        assert!(error.contains(dir.path().to_str().unwrap()), "{error}");
    }
}
