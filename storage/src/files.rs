//! The file system as the log sees it: few operations, behind traits so that tests can inject
//! torn and short writes, failed syncs and full disks.
//!
//! [`StdFiles`] is the real one. Whatever stands in for it still gives real files to read from,
//! since reads go out by `sendfile`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How many buffers one vectored write takes (`IOV_MAX`).
const WRITE_BUFFERS_MAX: usize = 1024;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// To read and write, created empty when it is missing.
    Create,
    /// To read and write; it must exist.
    Existing,
}

/// One open file.
pub trait LogFile: Send + Sync {
    /// Writes the buffers one after the other at a position and returns how many bytes it wrote,
    /// which may be fewer than given.
    ///
    /// # Errors
    /// When nothing could be written.
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Cuts the file, or fills it with zeros, to a length.
    ///
    /// # Errors
    /// When the file system refuses.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;

    /// Returns once what was written is on the disk (`fdatasync`).
    ///
    /// # Errors
    /// When some of it may not be: nobody knows which part, and asking again gives no answer.
    fn sync_data(&self) -> io::Result<()>;

    /// The file itself, for reads and for `sendfile`.
    fn handle(&self) -> &Arc<File>;

    /// The file's length in bytes.
    ///
    /// # Errors
    /// When the file system refuses.
    fn len_bytes(&self) -> io::Result<u64> {
        Ok(self.handle().metadata()?.len())
    }

    /// Fills a buffer from a position.
    ///
    /// # Errors
    /// When the file is shorter, or can't be read.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.handle().read_exact_at(buffer, position)
    }
}

/// A folder's operations.
pub trait LogFiles: Send + Sync {
    /// Opens a file.
    ///
    /// # Errors
    /// As the file system says.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>>;

    /// Replaces a file by new content in one step: after a crash it is either the old or the new.
    ///
    /// # Errors
    /// As the file system says; the old content is still there then.
    fn replace(&self, path: &Path, content: &[u8], sync: bool) -> io::Result<()>;

    /// Gives a file another name in its folder, in the place of the file that had it.
    ///
    /// # Errors
    /// As the file system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Returns once the names in a folder are on the disk.
    ///
    /// # Errors
    /// As the file system says.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;

    /// Reads a small file whole; `None` when it is missing.
    ///
    /// # Errors
    /// As the file system says.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a file; one that is missing is no error.
    ///
    /// # Errors
    /// As the file system says.
    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The real file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct StdFiles;

impl LogFiles for StdFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(mode == OpenMode::Create)
            .truncate(false)
            .open(path)?;
        Ok(Arc::new(StdFile(Arc::new(file))))
    }

    fn replace(&self, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
        let temporary = temporary_path(path);
        fs::write(&temporary, content)?;
        if sync {
            File::open(&temporary)?.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        if sync && let Some(folder) = path.parent() {
            self.sync_folder(folder)?;
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

/// Writes all buffers, however few bytes the file takes at once.
pub(crate) fn write_all(
    file: &dyn LogFile,
    mut buffers: Vec<IoSlice<'_>>,
    mut position: u64,
) -> io::Result<()> {
    let mut left = buffers.as_mut_slice();
    while !left.is_empty() {
        let count = left.len().min(WRITE_BUFFERS_MAX);
        let written = match file.write_vectored_at(&left[..count], position) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            written => written?,
        };
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        position += written as u64;
        IoSlice::advance_slices(&mut left, written);
    }
    Ok(())
}

/// What the file is called until it is whole. A crash may leave it behind; it is never read.
pub(crate) fn temporary_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    path.with_file_name(name)
}

struct StdFile(Arc<File>);

impl LogFile for StdFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&*self.0, buffers, position)?)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.0.set_len(len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn handle(&self) -> &Arc<File> {
        &self.0
    }
}
