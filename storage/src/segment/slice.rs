//! What a read gets of one segment: whole batches, all of them verified.

use std::sync::Arc;

use thalweg_types::Offset;

use super::{Segment, SliceRequest, Tail};
use crate::LogSlice;
use crate::batch_walk::{BatchWalk, WalkError};
use crate::epoch_cache::EpochCache;
use crate::locks::lock;
use crate::segment_index::Place;

impl Segment {
    /// Whole batches from an offset on: at least one that ends at or before `until`, if the offset
    /// is in one, else an empty slice. All bytes of it are verified.
    ///
    /// `epochs` must be as they were at `tail` or later, since they are written before a batch is.
    pub(crate) fn slice(
        self: &Arc<Self>,
        request: SliceRequest,
        tail: Tail,
        epochs: &EpochCache,
    ) -> Result<LogSlice, WalkError> {
        let file = self.file()?;
        let start = self.floor(request.from)?;
        let verified_end = self.verify_from(start, request.max_bytes, tail, epochs)?;

        let mut walk =
            BatchWalk::by_headers(&*file, start.position..verified_end.position, start.offset);
        let first = loop {
            match walk.next_header()? {
                Some((position, header)) if header.next_offset() > request.from => {
                    break Place {
                        offset: header.base_offset,
                        position,
                    };
                }
                Some(_) => {}
                None => return Err(verified_end.into_error(request.from)),
            }
        };
        let mut slice = LogSlice {
            file: Arc::clone(file.handle()),
            position: first.position,
            len_bytes: 0,
            base_offset: first.offset,
            next_offset: first.offset,
        };
        if walk.expected() > request.until {
            return Ok(slice);
        }
        let mut end = (walk.position(), walk.expected());
        let limit = (first.position + u64::from(request.max_bytes)).min(verified_end.position);
        // The index leads to shortly before the end, so that not every header is read.
        let near = self.with_index(|index| {
            let by_offset = index.floor(request.until)?;
            let by_position = index.floor_position(limit)?;
            Ok(if by_offset.position < by_position.position {
                by_offset
            } else {
                by_position
            })
        })?;
        if near.position > end.0 {
            end = (near.position, near.offset);
        }
        let mut walk = BatchWalk::by_headers(&*file, end.0..verified_end.position, end.1);
        while walk.next_header()?.is_some()
            && walk.position() <= limit
            && walk.expected() <= request.until
        {
            end = (walk.position(), walk.expected());
        }
        slice.len_bytes =
            u32::try_from(end.0 - first.position).expect("at most max_bytes or one batch");
        slice.next_offset = end.1;
        Ok(slice)
    }

    /// Makes sure that the batches from a place on are verified, about so many bytes. What is
    /// verified already is given first, so that only reads that have to wait for the disk.
    fn verify_from(
        self: &Arc<Self>,
        start: Place,
        max_bytes: u32,
        tail: Tail,
        epochs: &EpochCache,
    ) -> Result<VerifiedEnd, WalkError> {
        let next = self.ceiling(start.position + 1, tail)?;
        let known = lock(&self.verified).end_from(start.position);
        if known >= next {
            return Ok(VerifiedEnd {
                position: known,
                then: None,
            });
        }
        // The slice begins before `next`.
        let wanted = self.ceiling(next + u64::from(max_bytes), tail)?;
        match self.verify(start, wanted, tail, epochs) {
            Ok(()) => Ok(VerifiedEnd {
                position: wanted,
                then: None,
            }),
            Err(WalkError::Io(error)) => Err(WalkError::Io(error)),
            // What lies before the damage can still be read.
            Err(bad) => {
                let WalkError::Bad { position, .. } = &bad else {
                    return Err(bad);
                };
                Ok(VerifiedEnd {
                    position: *position,
                    then: Some(bad),
                })
            }
        }
    }
}

/// How far verified bytes go, and what stands there.
struct VerifiedEnd {
    position: u64,
    then: Option<WalkError>,
}

impl VerifiedEnd {
    /// Why no batch with an offset was found before the end.
    fn into_error(self, from: Offset) -> WalkError {
        self.then.unwrap_or_else(|| WalkError::Bad {
            position: self.position,
            offset: from,
            reason: format!("no batch holds offset {from}"),
        })
    }
}
