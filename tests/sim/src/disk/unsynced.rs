//! The changes of one file that are not on the disk for sure, and how to take them back.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;

/// What a power loss may take from one file.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    /// Oldest first.
    changes: Vec<Change>,
    /// Whether the file was made, and its folder not synced since.
    name_is_new: bool,
}

#[derive(Debug)]
enum Change {
    /// Bytes were written over what was there, which may be less than was written.
    Written {
        position: u64,
        bytes: Vec<u8>,
        before: Vec<u8>,
        len_before: u64,
    },
    /// The file was cut, or filled up.
    Cut {
        to: u64,
        cut_off: Vec<u8>,
        len_before: u64,
    },
    /// The whole content was replaced; there may have been no file before.
    Replaced { before: Option<Vec<u8>> },
}

impl Unsynced {
    pub(super) fn created() -> Self {
        Self {
            changes: Vec::new(),
            name_is_new: true,
        }
    }

    pub(super) fn note_written(
        &mut self,
        position: u64,
        bytes: Vec<u8>,
        before: Vec<u8>,
        len_before: u64,
    ) {
        self.changes.push(Change::Written {
            position,
            bytes,
            before,
            len_before,
        });
    }

    pub(super) fn note_cut(&mut self, to: u64, cut_off: Vec<u8>, len_before: u64) {
        self.changes.push(Change::Cut {
            to,
            cut_off,
            len_before,
        });
    }

    pub(super) fn note_replaced(&mut self, before: Option<Vec<u8>>) {
        self.changes.push(Change::Replaced { before });
    }

    pub(super) fn note_synced(&mut self) {
        self.changes.clear();
    }

    pub(super) fn note_name_synced(&mut self) {
        self.name_is_new = false;
    }

    /// Takes back what chance says of the last changes. Whether anything was taken back.
    pub(super) fn lose(mut self, path: &Path, chance: &mut SmallRng) -> io::Result<bool> {
        if self.name_is_new && chance.random_bool(0.5) {
            fs::remove_file(path)?;
            return Ok(true);
        }
        let kept = chance.random_range(0..=self.changes.len());
        let lost = self.changes.split_off(kept);
        for (index, change) in lost.iter().enumerate().rev() {
            // The first that is lost was perhaps under way.
            let is_torn = index == 0 && chance.random_bool(0.5);
            let kept_bytes = if is_torn {
                chance.random_range(0..=change.len())
            } else {
                0
            };
            change.take_back(path, kept_bytes)?;
        }
        Ok(!lost.is_empty())
    }
}

impl Change {
    /// How many bytes were written.
    fn len(&self) -> usize {
        match self {
            Self::Written { bytes, .. } => bytes.len(),
            Self::Cut { .. } | Self::Replaced { .. } => 0,
        }
    }

    /// Makes the file as before, but for the first bytes of a write.
    fn take_back(&self, path: &Path, kept_bytes: usize) -> io::Result<()> {
        if let Self::Replaced { before } = self {
            return match before {
                Some(content) => fs::write(path, content),
                None => fs::remove_file(path),
            };
        }
        let file = OpenOptions::new().write(true).open(path)?;
        match self {
            Self::Written {
                position,
                bytes,
                before,
                len_before,
            } => {
                file.set_len(*len_before)?;
                file.write_all_at(before, *position)?;
                file.write_all_at(&bytes[..kept_bytes], *position)
            }
            Self::Cut {
                to,
                cut_off,
                len_before,
            } => {
                file.set_len(*len_before)?;
                file.write_all_at(cut_off, (*to).min(*len_before))
            }
            Self::Replaced { .. } => Ok(()),
        }
    }
}
