//! Puts a compacted file in the place of the segments that it was made of, so that a crash at any
//! moment leaves either those or that.
//!
//! ```text
//! 1. <base>.log.cleaned          is written and synced
//! 2. ─▶ <base>-<next>.swap       renamed, the folder synced: now it is decided
//! 3. indexes and logs of all segments from base to next are removed, but for <base>.log
//! 4. the folder is synced, so that none of them comes back beside the new one
//! 5. ─▶ <base>.log               renamed, the folder synced
//! ```
//!
//! What a crash leaves of 1 is removed when the log is opened, and 3 to 5 are done again.

use std::io;
use std::path::{Path, PathBuf};

use thalweg_types::Offset;

use crate::files::LogFiles;
use crate::segment::{SegmentContext, parse_base_offset, parse_segment_name, segment_path};

/// What ends the name of a file that is being written: `<base>.log.cleaned`.
pub(crate) const CLEANED_SUFFIX: &str = "log.cleaned";

const SWAP_SUFFIX: &str = ".swap";

/// A compacted file that is about to replace the segments of a range of offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SwapFile {
    pub(crate) base_offset: Offset,
    pub(crate) next_offset: Offset,
}

impl SwapFile {
    fn path(&self, folder: &Path) -> PathBuf {
        let (base, next) = (self.base_offset.0, self.next_offset.0);
        folder.join(format!("{base:020}-{next:020}{SWAP_SUFFIX}"))
    }

    fn parse(name: &str) -> Option<Self> {
        let (base, next) = name.strip_suffix(SWAP_SUFFIX)?.split_once('-')?;
        Some(Self {
            base_offset: parse_base_offset(base)?,
            next_offset: parse_base_offset(next)?,
        })
    }

    /// Decides for a written and synced file: step 2. On an error nothing is decided, but for
    /// [`Undecided::Unknown`].
    pub(crate) fn decide(&self, context: &SegmentContext) -> Result<(), Undecided> {
        let cleaned = segment_path(&context.folder, self.base_offset, CLEANED_SUFFIX);
        let swap = self.path(&context.folder);
        context
            .files
            .rename(&cleaned, &swap)
            .map_err(Undecided::No)?;
        context
            .files
            .sync_folder(&context.folder)
            .map_err(Undecided::Unknown)
    }

    /// Does the steps 3 to 5, as far as they are not done. `bases` are the segments that there
    /// are.
    pub(crate) fn complete(&self, context: &SegmentContext, bases: &[Offset]) -> io::Result<()> {
        let SegmentContext { folder, files, .. } = context;
        let range = self.base_offset..self.next_offset;
        // The newest first, and each index before its log, so that none is left alone.
        for base in bases.iter().rev().filter(|base| range.contains(base)) {
            remove_indexes(&**files, folder, *base)?;
            if *base != self.base_offset {
                files.remove(&segment_path(folder, *base, "log"))?;
            }
        }
        files.sync_folder(folder)?;
        let log = segment_path(folder, self.base_offset, "log");
        files.rename(&self.path(folder), &log)?;
        files.sync_folder(folder)
    }
}

/// Why a swap was not decided.
pub(crate) enum Undecided {
    /// All is as it was.
    No(io::Error),
    /// It may or may not be; what is on the disk is found out when the log is opened.
    Unknown(io::Error),
}

fn remove_indexes(files: &dyn LogFiles, folder: &Path, base: Offset) -> io::Result<()> {
    files.remove(&segment_path(folder, base, "index"))?;
    files.remove(&segment_path(folder, base, "timeindex"))
}

/// Brings a folder in order after a crash: removes what was being written, and completes what was
/// decided.
pub(crate) fn finish_swaps(context: &SegmentContext) -> io::Result<()> {
    let mut bases = Vec::new();
    let mut swaps = Vec::new();
    for entry in std::fs::read_dir(&context.folder)? {
        let entry = entry?;
        // A name that is no text can't be one of ours.
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if name.ends_with(CLEANED_SUFFIX) {
            context.files.remove(&entry.path())?;
        } else if let Some(swap) = SwapFile::parse(&name) {
            swaps.push(swap);
        } else if let Some(base) = parse_segment_name(&name) {
            bases.push(base);
        }
    }
    bases.sort_unstable();
    for swap in swaps {
        tracing::info!(folder = %context.folder.display(), from = %swap.base_offset, to = %swap.next_offset, "completing a compaction that a crash cut short");
        swap.complete(context, &bases)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_what_is_replaced_and_other_names_do_not() {
        let swap = SwapFile {
            base_offset: Offset(7),
            next_offset: Offset(1234),
        };
        let path = swap.path(Path::new("log"));

        assert_eq!(
            path,
            Path::new("log/00000000000000000007-00000000000000001234.swap")
        );
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(SwapFile::parse(name), Some(swap));
        assert_eq!(SwapFile::parse("00000000000000000007.swap"), None);
        assert_eq!(SwapFile::parse("00000000000000000007.log"), None);
    }
}
