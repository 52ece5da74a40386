//! Where a topic asks for more than what was sent: batches in its own codec, keys in a compacted
//! topic. Only then are the records looked at.

use bytes::Bytes;
use thalweg_record::{Batch, Codec, assemble_batch, batches};
use thalweg_runtime::blocking;
use thalweg_types::{CleanupPolicy, TopicConfig};
use thalweg_wire::{KafkaError, SMALL_FRAME_BYTES};

use super::check::refused;
use crate::data::connection::Shared;
use crate::data::refusal::Refusal;

/// How large a batch may become when it is decompressed, in bytes.
const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// Brings batches into the form in which a topic of `config` keeps them.
pub(super) async fn as_kept(
    shared: &Shared,
    produced: Bytes,
    config: &TopicConfig,
) -> Result<Bytes, Refusal> {
    let wanted = Wanted {
        codec: Codec::of_policy(config.compression()),
        needs_keys: config.cleanup_policy() != CleanupPolicy::Delete,
    };
    let mut needs_work = wanted.needs_keys;
    let mut is_compressed = false;
    for batch in batches(&produced) {
        let codec = batch
            .and_then(|batch| batch.header().codec())
            .map_err(refused)?;
        is_compressed |= codec != Codec::None;
        needs_work |= wanted.codec.is_some_and(|wanted| wanted != codec);
    }
    if !needs_work {
        return Ok(produced);
    }
    let needed_bytes = if is_compressed {
        DECOMPRESSED_BYTES_MAX
    } else {
        produced.len()
    };
    // Dead letters come in small batches, and whoever waits for them may hold all of the budget.
    let _room = if needed_bytes > SMALL_FRAME_BYTES {
        Some(shared.streamed.reserve(needed_bytes).await)
    } else {
        None
    };
    blocking(move || wanted.apply(&produced))
        .await
        .map_err(|_| Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down"))?
}

/// What a topic asks for.
struct Wanted {
    codec: Option<Codec>,
    needs_keys: bool,
}

impl Wanted {
    fn apply(&self, produced: &Bytes) -> Result<Bytes, Refusal> {
        let mut kept = Vec::new();
        for batch in batches(produced) {
            self.apply_to(batch.map_err(refused)?, &mut kept)?;
        }
        Ok(Bytes::from(kept))
    }

    fn apply_to(&self, batch: Batch<'_>, kept: &mut Vec<u8>) -> Result<(), Refusal> {
        if batch.header().record_count == 0 {
            // What a SmartModule left of a batch is nothing to compress.
            kept.extend_from_slice(batch.bytes());
            return Ok(());
        }
        let records = batch.records(DECOMPRESSED_BYTES_MAX).map_err(refused)?;
        if self.needs_keys {
            for record in &records {
                if record.map_err(refused)?.key.is_none() {
                    return Err(Refusal::new(
                        KafkaError::InvalidRecord,
                        "the topic is compacted, and a record without a key can't be kept there",
                    ));
                }
            }
        }
        let sent = batch.header().codec().map_err(refused)?;
        match self.codec {
            Some(codec) if codec != sent => {
                let again = assemble_batch(*batch.header(), records.as_bytes(), codec).map_err(
                    |error| Refusal::new(KafkaError::MessageTooLarge, error.to_string()),
                )?;
                kept.extend_from_slice(&again);
            }
            _ => kept.extend_from_slice(batch.bytes()),
        }
        Ok(())
    }
}
