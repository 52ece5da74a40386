//! Buffers of batches that were delivered, for those that come: memory that is new to the process costs
//! more than what is written into it.
//!
//! Of all partitions together: where there are thousands, a batch seldom follows another of its own
//! partition.

use std::sync::{Mutex, MutexGuard};

/// Buffers that wait to be used again, up to so many bytes.
#[derive(Debug)]
pub(crate) struct SpareBuffers {
    bytes_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<Vec<u8>>,
    /// What they take.
    bytes: usize,
}

impl SpareBuffers {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            kept: Mutex::default(),
        }
    }

    /// A buffer with room for so much at the least.
    pub(crate) fn take(&self, capacity_bytes: usize) -> Vec<u8> {
        let mut kept = self.lock();
        let Some(mut buffer) = kept.buffers.pop() else {
            drop(kept);
            return Vec::with_capacity(capacity_bytes);
        };
        kept.bytes -= buffer.capacity();
        drop(kept);
        buffer.clear();
        buffer.reserve(capacity_bytes);
        buffer
    }

    /// Keeps a buffer, where there is room for it.
    pub(crate) fn put(&self, buffer: Vec<u8>) {
        let mut kept = self.lock();
        let bytes = kept.bytes + buffer.capacity();
        if bytes <= self.bytes_max {
            kept.bytes = bytes;
            kept.buffers.push(buffer);
        }
    }

    /// Gives all of them up.
    pub(crate) fn clear(&self) {
        *self.lock() = Kept::default();
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept
            .lock()
            .expect("nothing panics while it holds this lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_up_to_the_bound_and_with_the_room_that_is_asked_for() {
        let spares = SpareBuffers::new(150);
        spares.put(Vec::with_capacity(100));
        spares.put(Vec::with_capacity(100));

        let first = spares.take(10);
        let second = spares.take(10);

        assert_eq!((first.capacity(), second.capacity()), (100, 10));
        spares.put(first);
        assert!(spares.take(140).capacity() >= 140);
        spares.put(second);
        spares.clear();
        assert_eq!(spares.take(0).capacity(), 0);
    }
}
