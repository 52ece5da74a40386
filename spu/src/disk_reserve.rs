//! A little of the disk, kept for what an SPU must write even when the disk is full.
//!
//! A start is noted before anything else, and an end when all logs are closed. Without room for that,
//! an SPU that has ended on a full disk would not start again: it could neither say so to the SC nor
//! go on by itself once there is room.

use std::io;
use std::path::Path;

use tracing::warn;

use crate::atomic_file::write_atomically_blocking;

const FILE_NAME: &str = "reserve";
/// More than any of the files takes; a file system may hand out blocks of 64 KiB. Where there is no room
/// for the first any more, since a file was written that was not there before, the next will do.
const RESERVE_BYTES: [usize; 3] = [256 << 10, 192 << 10, 128 << 10];

/// As [`write_atomically_blocking`] to a file in `data_dir`, which may use the reserve up for it. The
/// old file's place becomes free by it, so that there is room for a reserve again afterwards.
pub(crate) fn write_with_reserve(data_dir: &Path, file_name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = data_dir.join(file_name);
    let reserve = data_dir.join(FILE_NAME);
    match write_atomically_blocking(&path, bytes) {
        Err(error) if error.kind() == io::ErrorKind::StorageFull && reserve.exists() => {
            warn!(file = %path.display(), "disk is full, writing with what was reserved");
            std::fs::remove_file(&reserve)?;
            write_atomically_blocking(&path, bytes)?;
        }
        written => written?,
    }
    if !reserve.exists()
        && let Err(error) = reserve_some(&reserve)
    {
        warn!(%error, "failed to reserve a little of the disk: once it is full this SPU may not start");
    }
    Ok(())
}

fn reserve_some(reserve: &Path) -> io::Result<()> {
    let mut written = Ok(());
    for bytes in RESERVE_BYTES {
        written = write_atomically_blocking(reserve, &vec![0; bytes]);
        if written.is_ok() {
            break;
        }
        // What was written of it is of no use to anybody.
        let _ = std::fs::remove_file(reserve.with_extension("next"));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserve_is_kept_beside_what_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = dir.path().join(FILE_NAME);

        write_with_reserve(dir.path(), "life", b"1").unwrap();
        assert_eq!(reserve.metadata().unwrap().len(), RESERVE_BYTES[0] as u64);
        std::fs::remove_file(&reserve).unwrap();
        write_with_reserve(dir.path(), "life", b"2").unwrap();

        assert_eq!(std::fs::read(dir.path().join("life")).unwrap(), b"2");
        assert!(reserve.exists());
    }
}
