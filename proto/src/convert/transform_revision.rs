//! What a transform ran, at one time.

use thalweg_types::resource::{RevisionSpec, TransformRevision};

use super::field::InvalidField;
use super::transform::{compression_policy, text_or_default, topics};
use crate::v1;

impl TryFrom<v1::TransformRevision> for TransformRevision {
    type Error = InvalidField;

    fn try_from(message: v1::TransformRevision) -> Result<Self, InvalidField> {
        let v1::TransformRevision {
            revision,
            at_ms,
            chain,
            partitioning,
            compression,
            dedup,
            tables,
            capabilities,
        } = message;
        Ok(Self {
            revision,
            at_ms,
            runs: RevisionSpec {
                chain: chain
                    .unwrap_or_default()
                    .try_into()
                    .map_err(|error: InvalidField| error.under("chain"))?,
                partitioning: text_or_default("partitioning", &partitioning)?,
                compression: compression_policy(&compression)?,
                dedup: dedup.map(Into::into),
                tables: topics("tables", &tables)?,
                capabilities: capabilities
                    .unwrap_or_default()
                    .try_into()
                    .map_err(|error: InvalidField| error.under("capabilities"))?,
            },
        })
    }
}

impl From<TransformRevision> for v1::TransformRevision {
    fn from(revision: TransformRevision) -> Self {
        let TransformRevision {
            revision,
            at_ms,
            runs,
        } = revision;
        let RevisionSpec {
            chain,
            partitioning,
            compression,
            dedup,
            tables,
            capabilities,
        } = runs;
        Self {
            revision,
            at_ms,
            chain: Some(chain.into()),
            partitioning: partitioning.to_string(),
            compression: compression.name().to_owned(),
            dedup: dedup.map(Into::into),
            tables: tables.iter().map(ToString::to_string).collect(),
            capabilities: (!capabilities.is_empty()).then(|| capabilities.into()),
        }
    }
}
