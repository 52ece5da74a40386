//! **Offsets are given one after the other**: in every copy each batch begins where the one before it
//! ends.

use thalweg_types::{Offset, PartitionId};

pub(super) fn offsets_are_dense(
    spu: i32,
    id: PartitionId,
    expected: Offset,
    found: Offset,
) -> Option<String> {
    (found != expected).then(|| {
        format!("offsets are dense: SPU {spu} has a batch at {found} of {id} where {expected} comes next")
    })
}
