//! The immutable log of one partition: segments, indexes, recovery, retention. Synchronous.
