//! The bytes of a replica on its SPU's disk.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use thalweg_types::PartitionId;

/// The bytes of a partition's log in an SPU's data directory, all segments one after the other.
///
/// # Errors
/// When it can't be read: the SPU may hold no replica, or have removed a segment just now.
pub fn log_bytes(data_dir: &Path, partition: PartitionId) -> io::Result<Vec<u8>> {
    let folder = data_dir.join("partitions").join(partition.to_string());
    let mut segments = BTreeMap::new();
    for file in std::fs::read_dir(folder)? {
        let path = file?.path();
        if path.extension().is_some_and(|end| end == "log") {
            segments.insert(path.clone(), std::fs::read(path)?);
        }
    }
    Ok(segments.into_values().collect::<Vec<_>>().concat())
}
