//! Bytes of SmartModules in files: `<sha256>.wasm`, beside their compiled forms.
//!
//! A file is a copy that may go at any time. One whose bytes have another hash than its name was
//! damaged or tampered with, and is removed. `docs/formats/spu-state.md` specifies the folder.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use thalweg_runtime::blocking;
use thalweg_types::sha256_hex;
use tracing::warn;

use crate::atomic_file::write_atomically_blocking;

const FILE_EXTENSION: &str = "wasm";
/// How many files are kept.
const FILES_MAX: usize = 512;
/// How many bytes the files may have together.
const BYTES_MAX: u64 = 512 << 20;

/// The files of one folder.
#[derive(Debug)]
pub(super) struct ModuleFiles {
    directory: PathBuf,
}

/// One file, for choosing which ones go.
struct Kept {
    modified: SystemTime,
    size_bytes: u64,
    path: PathBuf,
}

impl ModuleFiles {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// The bytes with this hash, if a file has them.
    pub(super) async fn read(&self, sha256: &str) -> Option<Bytes> {
        let path = self.path(sha256);
        let sha256 = sha256.to_owned();
        // A task that is cut off by the shutdown has read nothing.
        blocking(move || read_checked(&path, &sha256))
            .await
            .ok()
            .flatten()
    }

    /// Keeps bytes of this hash. A failure costs another fetch later, so it is logged only.
    pub(super) async fn write(&self, sha256: &str, wasm: &Bytes) {
        let path = self.path(sha256);
        let directory = self.directory.clone();
        let wasm = wasm.clone();
        let writing = blocking(move || {
            if let Err(error) = write_atomically_blocking(&path, &wasm) {
                warn!(path = %path.display(), %error, "failed to keep a SmartModule");
            }
            if let Err(error) = forget_oldest(&directory, FILES_MAX, BYTES_MAX) {
                warn!(directory = %directory.display(), %error, "failed to tidy the SmartModules");
            }
        });
        // Cut off by the shutdown it is written another time.
        let _ = writing.await;
    }

    fn path(&self, sha256: &str) -> PathBuf {
        self.directory.join(sha256).with_extension(FILE_EXTENSION)
    }
}

fn read_checked(path: &Path, sha256: &str) -> Option<Bytes> {
    let wasm = match std::fs::read(path) {
        Ok(wasm) => wasm,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            warn!(path = %path.display(), %error, "failed to read a SmartModule, fetching it again");
            return None;
        }
    };
    if sha256_hex(&wasm) == sha256 {
        return Some(Bytes::from(wasm));
    }
    warn!(path = %path.display(), "a SmartModule's file has other bytes than it had, fetching it again");
    if let Err(error) = std::fs::remove_file(path) {
        warn!(path = %path.display(), %error, "failed to remove a damaged SmartModule");
    }
    None
}

/// Removes the oldest files until no more than these bounds are left.
fn forget_oldest(directory: &Path, files_max: usize, bytes_max: u64) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|found| found == FILE_EXTENSION)
        {
            let metadata = entry.metadata()?;
            kept.push(Kept {
                modified: metadata.modified()?,
                size_bytes: metadata.len(),
                path,
            });
        }
    }
    kept.sort_by_key(|file| file.modified);
    let mut count = kept.len();
    let mut bytes: u64 = kept.iter().map(|file| file.size_bytes).sum();
    for file in kept {
        if count <= files_max && bytes <= bytes_max {
            break;
        }
        std::fs::remove_file(&file.path)?;
        count -= 1;
        bytes -= file.size_bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_whose_bytes_have_changed_is_removed_and_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let files = ModuleFiles::new(dir.path().to_owned());
        let wasm = Bytes::from_static(b"\0asm and so on");
        let sha256 = sha256_hex(&wasm);
        assert_eq!(files.read(&sha256).await, None);

        files.write(&sha256, &wasm).await;
        assert_eq!(files.read(&sha256).await, Some(wasm));

        std::fs::write(files.path(&sha256), b"\0asm and else").unwrap();
        assert_eq!(files.read(&sha256).await, None);
        assert!(!files.path(&sha256).exists());
    }

    #[test]
    fn the_oldest_files_go_and_compiled_forms_stay() {
        let dir = tempfile::tempdir().unwrap();
        let epoch = SystemTime::UNIX_EPOCH;
        for (age, name) in ["a.compiled", "b.wasm", "c.wasm", "d.wasm"]
            .iter()
            .enumerate()
        {
            let path = dir.path().join(name);
            std::fs::write(&path, [0; 10]).unwrap();
            let file = std::fs::File::options().write(true).open(&path).unwrap();
            let modified = epoch + std::time::Duration::from_secs(age as u64);
            file.set_modified(modified).unwrap();
        }
        let left = || {
            let entries = std::fs::read_dir(dir.path()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };

        forget_oldest(dir.path(), 2, 100).unwrap();
        assert_eq!(left(), ["a.compiled", "c.wasm", "d.wasm"]);
        forget_oldest(dir.path(), 2, 10).unwrap();
        assert_eq!(left(), ["a.compiled", "d.wasm"]);
    }
}
