//! Where a consumer stands in a partition, with what an aggregate has come to there: what a program
//! stores to go on exactly there, in another process or on another day.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use thalweg_types::Offset;

/// The form of [`Checkpoint::to_bytes`].
const VERSION: u8 = 1;

/// Every record below `offset` has been handed out, and none from it on.
///
/// Store it together with what you made of the records, and put it into
/// [`ConsumerOptions::resume`](crate::ConsumerOptions::resume) to go on: no record is skipped or
/// seen twice, and aggregates go on as if nothing had happened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checkpoint {
    /// The next record.
    pub offset: Offset,
    /// What an aggregate has come to at `offset`.
    pub accumulators: Accumulators,
}

/// What an aggregate has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accumulators {
    /// There is no aggregate, or it has seen no record: it begins with what the stream begins with.
    #[default]
    None,
    /// One for the partition.
    Partition(Bytes),
    /// One for each key; records without a key have one of their own.
    ByKey(BTreeMap<Option<Bytes>, Bytes>),
}

/// Why bytes are no checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no checkpoint of a consumer: {reason}")]
pub struct InvalidCheckpoint {
    reason: &'static str,
}

impl Accumulators {
    /// Applies what an answer changed.
    pub(crate) fn apply(&mut self, change: Self) {
        match (&mut *self, change) {
            (_, Self::None) => {}
            (Self::ByKey(known), Self::ByKey(changed)) => known.extend(changed),
            (known, change) => *known = change,
        }
    }

    /// By how much applying `change` makes the accumulators larger, in bytes.
    pub(crate) fn growth_bytes(&self, change: &Self) -> i64 {
        let size = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
        match (self, change) {
            (_, Self::None) => 0,
            (Self::ByKey(known), Self::ByKey(changed)) => changed
                .iter()
                .map(|(key, value)| match known.get(key) {
                    Some(old) => size(value.len()) - size(old.len()),
                    None => size(pair_bytes((key, value))),
                })
                .sum(),
            (known, change) => size(change.size_bytes()) - size(known.size_bytes()),
        }
    }

    /// For how many keys there are accumulators.
    pub(crate) fn key_count(&self) -> usize {
        match self {
            Self::ByKey(by_key) => by_key.len(),
            Self::None | Self::Partition(_) => 0,
        }
    }

    /// The size of keys and accumulators together, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        match self {
            Self::None => 0,
            Self::Partition(accumulator) => accumulator.len(),
            Self::ByKey(by_key) => by_key.iter().map(pair_bytes).sum(),
        }
    }
}

impl Checkpoint {
    /// A place without accumulators.
    #[must_use]
    pub fn at(offset: Offset) -> Self {
        Self {
            offset,
            accumulators: Accumulators::None,
        }
    }

    /// The checkpoint as bytes, to be stored.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(self.accumulators.size_bytes() + 64);
        out.put_u8(VERSION);
        out.put_i64(self.offset.0);
        match &self.accumulators {
            Accumulators::None => out.put_u8(0),
            Accumulators::Partition(accumulator) => {
                out.put_u8(1);
                put(&mut out, accumulator);
            }
            Accumulators::ByKey(by_key) => {
                out.put_u8(2);
                for (key, accumulator) in by_key {
                    match key {
                        Some(key) => {
                            out.put_u8(1);
                            put(&mut out, key);
                        }
                        None => out.put_u8(0),
                    }
                    put(&mut out, accumulator);
                }
            }
        }
        out.freeze()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// When the bytes are of something else, or of a newer version.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Result<Self, InvalidCheckpoint> {
        let mut bytes = bytes.into();
        let cut = |_| InvalidCheckpoint { reason: "cut off" };
        if bytes.try_get_u8().map_err(cut)? != VERSION {
            let reason = "of another version";
            return Err(InvalidCheckpoint { reason });
        }
        let offset = Offset(bytes.try_get_i64().map_err(cut)?);
        let accumulators = match bytes.try_get_u8().map_err(cut)? {
            0 => Accumulators::None,
            1 => Accumulators::Partition(take(&mut bytes)?),
            2 => {
                let mut by_key = BTreeMap::new();
                while bytes.has_remaining() {
                    let key = match bytes.try_get_u8().map_err(cut)? {
                        0 => None,
                        _ => Some(take(&mut bytes)?),
                    };
                    by_key.insert(key, take(&mut bytes)?);
                }
                Accumulators::ByKey(by_key)
            }
            _ => {
                let reason = "of an unknown kind";
                return Err(InvalidCheckpoint { reason });
            }
        };
        if bytes.has_remaining() {
            let reason = "with more behind it";
            return Err(InvalidCheckpoint { reason });
        }
        Ok(Self {
            offset,
            accumulators,
        })
    }
}

fn pair_bytes((key, value): (&Option<Bytes>, &Bytes)) -> usize {
    key.as_ref().map_or(0, Bytes::len) + value.len()
}

fn put(out: &mut BytesMut, bytes: &[u8]) {
    out.put_u32(u32::try_from(bytes.len()).expect("an accumulator is far below 4 GiB"));
    out.put_slice(bytes);
}

fn take(bytes: &mut Bytes) -> Result<Bytes, InvalidCheckpoint> {
    let reason = "cut off";
    let length = bytes
        .try_get_u32()
        .ok()
        .and_then(|length| usize::try_from(length).ok())
        .filter(|length| *length <= bytes.len())
        .ok_or(InvalidCheckpoint { reason })?;
    Ok(bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn checkpoints_survive_being_stored(
            offset in 0..i64::MAX,
            one: Option<Vec<u8>>,
            by_key: BTreeMap<Option<Vec<u8>>, Vec<u8>>,
        ) {
            let by_key = by_key
                .into_iter()
                .map(|(key, value)| (key.map(Bytes::from), Bytes::from(value)));
            let accumulators = match one {
                Some(one) => Accumulators::Partition(one.into()),
                None => Accumulators::ByKey(by_key.collect()),
            };
            let checkpoint = Checkpoint { offset: Offset(offset), accumulators };

            prop_assert_eq!(Checkpoint::from_bytes(checkpoint.to_bytes()), Ok(checkpoint));
        }

        #[test]
        fn garbage_is_refused_and_never_panics(bytes: Vec<u8>) {
            let _ = Checkpoint::from_bytes(bytes);
        }
    }

    #[test]
    fn changed_keys_replace_the_known_ones_and_leave_the_others() {
        let by_key = |pairs: &[(&'static str, &'static str)]| {
            let pairs = pairs.iter().map(|(key, value)| {
                let key = Bytes::from_static(key.as_bytes());
                (Some(key), Bytes::from_static(value.as_bytes()))
            });
            Accumulators::ByKey(pairs.collect())
        };
        let mut known = by_key(&[("a", "1"), ("b", "2")]);

        let size_before = known.size_bytes();
        let change = by_key(&[("b", "33"), ("c", "4")]);

        let growth = known.growth_bytes(&change);
        known.apply(change);
        known.apply(Accumulators::None);

        assert_eq!(known, by_key(&[("a", "1"), ("b", "33"), ("c", "4")]));
        assert_eq!(growth, 3);
        assert_eq!(known.size_bytes(), size_before + 3);
    }
}
