//! One open file of a simulated disk.

use std::fs::File;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use thalweg_storage::LogFile;

use super::DiskHandle;

/// An open file. Changes go into the real one, and are noted with what takes them back.
pub(super) struct SimulatedFile {
    path: PathBuf,
    file: Arc<dyn LogFile>,
    disk: DiskHandle,
}

impl SimulatedFile {
    pub(super) fn new(path: PathBuf, file: Arc<dyn LogFile>, disk: DiskHandle) -> Self {
        Self { path, file, disk }
    }

    /// What is in the file from a position on, at most so many bytes.
    fn content(&self, position: u64, count_max: usize) -> io::Result<Vec<u8>> {
        let len = self.file.len_bytes()?;
        let kept = usize::try_from(len.saturating_sub(position)).unwrap_or(usize::MAX);
        let mut content = vec![0; kept.min(count_max)];
        self.file.read_exact_at(&mut content, position)?;
        Ok(content)
    }
}

impl LogFile for SimulatedFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut state = self.disk.state()?;
        let all: Vec<u8> = buffers.iter().flat_map(|buffer| buffer.to_vec()).collect();
        let taken = state.take_room(all.len())?;
        let len_before = self.file.len_bytes()?;
        let before = self.content(position, taken)?;
        let written = &all[..taken];
        self.file
            .write_vectored_at(&[IoSlice::new(written)], position)?;
        let file = state.unsynced.entry(self.path.clone()).or_default();
        file.note_written(position, written.to_vec(), before, len_before);
        Ok(taken)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let mut state = self.disk.state()?;
        let len_before = self.file.len_bytes()?;
        let cut_off = self.content(len_bytes, usize::MAX)?;
        self.file.set_len(len_bytes)?;
        let file = state.unsynced.entry(self.path.clone()).or_default();
        file.note_cut(len_bytes, cut_off, len_before);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.state()?;
        if state.fails_syncs {
            return Err(io::Error::other("injected: the disk fails to sync"));
        }
        if !state.lies
            && let Some(file) = state.unsynced.get_mut(&self.path)
        {
            file.note_synced();
        }
        Ok(())
    }

    fn handle(&self) -> &Arc<File> {
        self.file.handle()
    }
}
