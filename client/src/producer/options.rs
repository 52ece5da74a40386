//! What a producer can be asked for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::Codec;

use crate::SmartModuleInvocation;
use crate::producer::Partitioner;

/// How a [`Producer`](crate::Producer) batches, sends and retries.
///
/// ```
/// use std::time::Duration;
/// use thalweg_client::{Acks, ProducerOptions};
///
/// let options = ProducerOptions {
///     linger: Duration::from_millis(2),
///     acks: Acks::All,
///     ..ProducerOptions::default()
/// };
/// # let _ = options;
/// ```
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// The size at which a batch is sent without waiting for more, in bytes before compression.
    /// A topic with a smaller `max.message.bytes` lowers it. Default: 1 MiB, which is about what
    /// topics take unless told otherwise.
    pub batch_bytes: usize,
    /// How long a batch that is not full waits for more records. At zero (the default) a batch is
    /// sent at once when nothing is in flight, and gathers what comes meanwhile when something is.
    pub linger: Duration,
    /// The codec of batches. Default: none.
    pub compression: Codec,
    /// Who must hold a record before it counts as delivered. Default: [`Acks::All`].
    pub acks: Acks,
    /// Whether retries are deduplicated by the SPU and order is kept across them. Without it, a
    /// retry may store a batch twice. Ignored for [`Acks::None`]. Default: true.
    pub idempotent: bool,
    /// Which partition a record without an explicit one goes to.
    pub partitioner: Partitioner,
    /// How many bytes of records may wait for their delivery; beyond it `send` waits.
    /// Default: 64 MiB.
    pub memory_bytes: usize,
    /// How many requests of one partition may be unanswered. At most 5 when idempotent, since
    /// SPUs remember that many. Default: 5.
    pub requests_in_flight: usize,
    /// How long to wait for the answer to one request. Default: 30 s.
    pub request_timeout: Duration,
    /// How long after `send` a record is given up, retries included. Default: 120 s.
    pub delivery_timeout: Duration,
    /// SmartModules that the SPU applies before the append.
    pub smartmodules: Vec<SmartModuleInvocation>,
    /// What an aggregate among them starts from. Default: nothing.
    pub accumulator: Option<Bytes>,
    /// Whether an aggregate keeps an accumulator for each key, and not one for each partition. Each
    /// starts from `accumulator`. Default: false.
    pub accumulate_by_key: bool,
}

impl Default for ProducerOptions {
    fn default() -> Self {
        Self {
            batch_bytes: 1 << 20,
            linger: Duration::ZERO,
            compression: Codec::None,
            acks: Acks::All,
            idempotent: true,
            partitioner: Partitioner::default(),
            memory_bytes: 64 << 20,
            requests_in_flight: 5,
            request_timeout: Duration::from_secs(30),
            delivery_timeout: Duration::from_secs(120),
            smartmodules: Vec::new(),
            accumulator: None,
            accumulate_by_key: false,
        }
    }
}

/// Who must hold a record before it counts as delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Acks {
    /// Nobody: the SPU does not answer, so losses go unnoticed.
    None,
    /// The partition's leader.
    Leader,
    /// Every in-sync replica.
    #[default]
    All,
}

/// Why a text is no [`Acks`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("acks `{text}` is not known, write `0`, `1` or `all`")]
pub struct InvalidAcks {
    /// The text as given.
    pub text: String,
}

impl Acks {
    pub(crate) const fn wire_value(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = InvalidAcks;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" | "none" => Ok(Self::None),
            "1" | "leader" => Ok(Self::Leader),
            "-1" | "all" => Ok(Self::All),
            _ => Err(InvalidAcks {
                text: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Acks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "0",
            Self::Leader => "1",
            Self::All => "all",
        })
    }
}
