//! What a leader checks of a batch before it takes it, without a look at the records.

use thalweg_record::{Batch, BatchError, Codec, ProgressMarker, batches};
use thalweg_types::TopicConfig;
use thalweg_wire::KafkaError;

use crate::data::refusal::Refusal;

/// The first version of Produce that may carry zstd (KIP-110).
const ZSTD_FROM: i16 = 7;

/// Checks that `records` are exactly one batch that may be appended to a topic of `config`, and of a
/// transform if `is_output`.
pub(super) fn shallow(
    records: &[u8],
    config: &TopicConfig,
    version: i16,
    is_output: bool,
) -> Result<(), Refusal> {
    if records.is_empty() {
        return Err(Refusal::new(
            KafkaError::InvalidRecord,
            "a partition's records must be one batch, and there is none",
        ));
    }
    let batch = Batch::parse(records).map_err(refused)?;
    let size_bytes = batch.bytes().len();
    if size_bytes != records.len() {
        return Err(Refusal::new(
            KafkaError::InvalidRecord,
            format!(
                "a partition's records must be one batch, and {} bytes follow it",
                records.len() - size_bytes
            ),
        ));
    }
    let limit_bytes = config.max_message_bytes() as usize;
    if size_bytes > limit_bytes {
        return Err(Refusal::new(
            KafkaError::MessageTooLarge,
            format!(
                "batch of {size_bytes} bytes exceeds the topic's `max.message.bytes` of {limit_bytes}"
            ),
        ));
    }
    if is_output && ProgressMarker::of(batch.header()).is_some() {
        return batch.validate_shallow().map_err(refused);
    }
    batch.validate_produced().map_err(refused)?;
    if is_output != batch.header().producer_id.is_transform() {
        return Err(Refusal::new(
            KafkaError::InvalidRecord,
            "producer ids from 2^62 on are those of transforms: ask for one with InitProducerId",
        ));
    }
    if batch.header().is_transactional() {
        return Err(Refusal::new(
            KafkaError::InvalidTxnState,
            "there are no transactions here: produce without a transactional id",
        ));
    }
    if version < ZSTD_FROM && batch.header().codec() == Ok(Codec::Zstd) {
        return Err(Refusal::new(
            KafkaError::UnsupportedCompressionType,
            format!("zstd can be produced from version {ZSTD_FROM} of Produce on"),
        ));
    }
    Ok(())
}

/// Checks that what `modules` made of a batch of `sent_bytes` still fits a topic of `config`. Kafka's
/// producer halves a batch upon this refusal, and sends the halves.
pub(super) fn grown(
    kept: &[u8],
    config: &TopicConfig,
    sent_bytes: usize,
    modules: &[&str],
) -> Result<(), Refusal> {
    let limit_bytes = config.max_message_bytes() as usize;
    let mut sizes = batches(kept)
        .map_while(Result::ok)
        .map(|batch| batch.bytes().len());
    let Some(size_bytes) = sizes.find(|size_bytes| *size_bytes > limit_bytes) else {
        return Ok(());
    };
    let several = if modules.len() == 1 { "" } else { "s" };
    let names = modules.join("`, `");
    Err(Refusal::new(
        KafkaError::MessageTooLarge,
        format!(
            "SmartModule{several} `{names}` made {size_bytes} bytes of a batch of {sent_bytes}, more than the topic's `max.message.bytes` of {limit_bytes}: produce smaller batches, or raise `max.message.bytes`"
        ),
    ))
}

/// A damaged or wrong batch, as the client is told of it.
pub(super) fn refused(error: BatchError) -> Refusal {
    let code = match &error {
        BatchError::Magic { found: 0 | 1 } => KafkaError::UnsupportedForMessageFormat,
        BatchError::Codec { .. } => KafkaError::UnsupportedCompressionType,
        BatchError::TooLarge { .. } => KafkaError::MessageTooLarge,
        BatchError::Header { .. }
        | BatchError::MalformedRecord { .. }
        | BatchError::RecordCount { .. } => KafkaError::InvalidRecord,
        BatchError::Truncated { .. }
        | BatchError::Magic { .. }
        | BatchError::Length { .. }
        | BatchError::Crc { .. }
        | BatchError::Decompress { .. } => KafkaError::CorruptMessage,
    };
    Refusal::new(code, error.to_string())
}
