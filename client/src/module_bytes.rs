//! The bytes of a registered SmartModule, read from the topic that keeps them.

use bytes::Bytes;
use thalweg_types::resource::ModuleRevision;
use thalweg_types::{
    ErrorCode, ModuleRef, PartitionIndex, ResourceName, SMARTMODULES_TOPIC, TopicName, sha256_hex,
};

use crate::client::Client;
use crate::consumer::{
    ConsumeError, Consumer, ConsumerOptions, EndOffset, PartitionSelection, StartOffset,
};

/// How much one answer may carry, in bytes: more than the largest module has.
const FETCH_BYTES_MAX: u32 = 16 << 20;

/// Why the bytes of a registered SmartModule can't be had.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleBytesError {
    /// The topic can't be read.
    #[error("the bytes of SmartModule `{module}` can't be read: {source}")]
    Consume {
        /// The module with its version.
        module: ModuleRef,
        /// Why.
        source: Box<ConsumeError>,
    },
    /// No record of the topic has bytes of the hash that was registered.
    #[error(
        "the bytes of SmartModule `{module}` are not in topic `{SMARTMODULES_TOPIC}`, or are not those that were registered: delete the version and register it again"
    )]
    Lost {
        /// The module with its version.
        module: ModuleRef,
    },
}

impl ModuleBytesError {
    /// What the caller should do.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Consume { source, .. } => source.code(),
            Self::Lost { .. } => ErrorCode::Corrupt,
        }
    }
}

impl Client {
    /// The bytes of one version of a registered SmartModule, with the hash that was registered.
    /// Asks the SPU that leads the topic `__smartmodules`, and no SC.
    ///
    /// # Errors
    /// When no SPU that leads the topic can be reached, or the bytes are not there any more.
    pub async fn smart_module_bytes(
        &self,
        name: &ResourceName,
        revision: &ModuleRevision,
    ) -> Result<Bytes, ModuleBytesError> {
        let module = ModuleRef {
            name: name.clone(),
            version: Some(revision.version.clone()),
        };
        let wanted = Wanted {
            key: module.to_string(),
            sha256: &revision.sha256,
        };
        let exactly = (
            StartOffset::Offset(revision.offset),
            EndOffset::Offset(revision.offset.next()),
        );
        let failed = |error| ModuleBytesError::Consume {
            module: module.clone(),
            source: Box::new(error),
        };
        match self.search(exactly, &wanted).await {
            Ok(Some(bytes)) => return Ok(bytes),
            // Somewhere else, if the same version was written twice and the first one cleaned up.
            Ok(None) | Err(ConsumeError::OffsetOutOfRange { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
        let everything = (StartOffset::Beginning, EndOffset::LogEnd);
        let found = self.search(everything, &wanted).await.map_err(failed)?;
        found.ok_or(ModuleBytesError::Lost { module })
    }

    /// The first record's value that has the wanted key and hash.
    async fn search(
        &self,
        (start, end): (StartOffset, EndOffset),
        wanted: &Wanted<'_>,
    ) -> Result<Option<Bytes>, ConsumeError> {
        let topic = TopicName::new(SMARTMODULES_TOPIC).expect("the name keeps Kafka's rules");
        let options = ConsumerOptions {
            partitions: PartitionSelection::Only(vec![PartitionIndex(0)]),
            start,
            end,
            fetch_bytes_max: FETCH_BYTES_MAX,
            partition_bytes_max: FETCH_BYTES_MAX,
            ..ConsumerOptions::default()
        };
        let mut consumer: Consumer = self.consumer(&topic, options).await?;
        while let Some(batch) = consumer.next_batch().await? {
            for record in batch.shared_records() {
                let is_key = record.key.as_deref() == Some(wanted.key.as_bytes());
                if let Some(value) = record.value.filter(|_| is_key)
                    && sha256_hex(&value) == wanted.sha256
                {
                    return Ok(Some(value));
                }
            }
        }
        Ok(None)
    }
}

/// What a record must have.
struct Wanted<'a> {
    key: String,
    sha256: &'a str,
}
