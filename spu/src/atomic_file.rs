//! Replaces a small file as a whole: after a crash it has the old content or the new, never half.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use thalweg_runtime::blocking;

/// Writes `bytes` to `path` and syncs file and folder, on a blocking thread.
pub(crate) async fn write_atomically(path: PathBuf, bytes: Vec<u8>) -> io::Result<()> {
    blocking(move || write_atomically_blocking(&path, &bytes))
        .await
        .map_err(io::Error::other)?
}

/// As [`write_atomically`], on this thread.
pub(crate) fn write_atomically_blocking(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&next, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");

        write_atomically_blocking(&path, b"old").unwrap();
        write_atomically_blocking(&path, b"new").unwrap();

        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
