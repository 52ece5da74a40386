//! What the files of a segment are called: its base offset in 20 digits, and what they hold.

use std::path::{Path, PathBuf};

use thalweg_types::Offset;

/// The file of a segment.
pub(crate) fn segment_path(folder: &Path, base_offset: Offset, extension: &str) -> PathBuf {
    folder.join(format!("{:020}.{extension}", base_offset.0))
}

/// The base offset in a segment file's name; `None` when it is no segment.
pub(crate) fn parse_segment_name(name: &str) -> Option<Offset> {
    parse_base_offset(name.strip_suffix(".log")?)
}

/// The base offset in an index file's name; `None` when it is no index.
pub(crate) fn parse_index_name(name: &str) -> Option<Offset> {
    let digits = name
        .strip_suffix(".index")
        .or_else(|| name.strip_suffix(".timeindex"))?;
    parse_base_offset(digits)
}

/// The offset that 20 digits stand for.
pub(crate) fn parse_base_offset(digits: &str) -> Option<Offset> {
    let is_ours = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_ours.then(|| digits.parse().ok().map(Offset)).flatten()
}
