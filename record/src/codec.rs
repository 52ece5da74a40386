//! How the records of a batch are compressed.

use std::fmt;
use std::str::FromStr;

use thalweg_types::CompressionPolicy;

use crate::error::BatchError;

/// How the records of a batch are compressed. The header never is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy; written in the framing of Java's clients, read with and without it.
    Snappy,
    /// LZ4 frames.
    Lz4,
    /// Zstandard (RFC 8878).
    Zstd,
}

/// A name that no codec has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown compression codec `{name}`, choose none, gzip, snappy, lz4 or zstd")]
pub struct UnknownCodec {
    /// The name as given.
    pub name: String,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::None, Self::Gzip, Self::Snappy, Self::Lz4, Self::Zstd];

    /// The bits of a batch's attributes that hold the codec.
    pub(crate) const ATTRIBUTE_MASK: i16 = 0b111;

    /// Reads the codec out of a batch's attributes.
    ///
    /// # Errors
    /// [`BatchError::Codec`] for the numbers 5 to 7.
    pub const fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & Self::ATTRIBUTE_MASK {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            bits => Err(BatchError::Codec { bits: bits as u8 }),
        }
    }

    /// The codec's number, as it stands in a batch's attributes.
    #[must_use]
    pub const fn attribute_bits(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Snappy => 2,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    /// The name that users and Kafka's configuration give the codec.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The codec that a topic wants its batches in, or `None` when the producer chooses.
    #[must_use]
    pub const fn of_policy(policy: CompressionPolicy) -> Option<Self> {
        match policy {
            CompressionPolicy::Producer => None,
            CompressionPolicy::Uncompressed => Some(Self::None),
            CompressionPolicy::Gzip => Some(Self::Gzip),
            CompressionPolicy::Snappy => Some(Self::Snappy),
            CompressionPolicy::Lz4 => Some(Self::Lz4),
            CompressionPolicy::Zstd => Some(Self::Zstd),
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.name() == name)
            .ok_or_else(|| UnknownCodec {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_lead_back_to_the_codec() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_attributes(codec.attribute_bits()), Ok(codec));
            assert_eq!(codec.name().parse(), Ok(codec));
        }
    }

    #[test]
    fn other_attributes_do_not_change_the_codec() {
        assert_eq!(Codec::from_attributes(!0b111 | 4), Ok(Codec::Zstd));
    }

    #[test]
    fn unknown_codecs_are_named() {
        let by_number = Codec::from_attributes(6).unwrap_err().to_string();
        let by_name = "brotli".parse::<Codec>().unwrap_err().to_string();

        assert!(by_number.starts_with("unknown compression codec 6"));
        assert!(by_name.contains("`brotli`"));
    }
}
