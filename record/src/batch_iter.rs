//! Walks the batches of a log, a fetch answer or a produce request.

use std::iter::FusedIterator;

use crate::batch::Batch;
use crate::error::BatchError;

/// Iterates whole batches that lie one after the other in `bytes`.
///
/// A batch that is cut off at the end, as Kafka's fetch answers may have one, is the last item:
/// [`BatchError::Truncated`].
#[must_use]
pub const fn batches(bytes: &[u8]) -> BatchIter<'_> {
    BatchIter { rest: bytes }
}

/// Iterates whole batches. Made by [`batches`]; ends after its first error.
#[derive(Debug, Clone)]
pub struct BatchIter<'a> {
    rest: &'a [u8],
}

impl<'a> BatchIter<'a> {
    /// The bytes that come after the batches that were given out.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for BatchIter<'a> {
    type Item = Result<Batch<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::parse(self.rest);
        self.rest = match &batch {
            Ok(batch) => &self.rest[batch.bytes().len()..],
            Err(_) => &[],
        };
        Some(batch)
    }
}

impl FusedIterator for BatchIter<'_> {}
