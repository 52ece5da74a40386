//! The numbers that fence: each grows when somebody new takes over, and the older one is refused.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! epoch {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize,
            Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The epoch after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

epoch! {
    /// The number of a leader's reign in a partition. Grows at each election and is stamped into
    /// the batches that the leader appends.
    LeaderEpoch(i32)
}

impl LeaderEpoch {
    /// What Kafka's protocol says where no epoch is known.
    pub const UNKNOWN: Self = Self(-1);
}

epoch! {
    /// The version of a partition's leader and in-sync replicas; compare-and-set by the SC.
    PartitionEpoch(i32)
}

epoch! {
    /// The number of an SC's reign. An SPU ignores directives from an older one.
    ControllerEpoch(u64)
}

epoch! {
    /// The number of an SPU process's life, fresh at each registration. Orders a restarted SPU's
    /// messages after those of its former life.
    Incarnation(u64)
}

epoch! {
    /// The number of a replica's copy on its SPU's disk: another, larger one whenever the SPU's process
    /// opens the copy or makes it anew. 0 for none.
    CopyNumber(u64)
}

/// The life of one copy in one life of its SPU's process. What it kept in another one counts for
/// nothing: by now it may keep less.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyLife {
    /// The life of the process.
    pub process: Incarnation,
    /// The copy, of those of that life.
    pub copy: CopyNumber,
}
