//! The `checkpoint` file: what a log knows that its segments don't say.
//!
//! Written when the log start moves, now and then when the high watermark has, and at a clean
//! shutdown. See `docs/formats/data-directory.md`.

use thalweg_types::Offset;

use crate::checked_file::{self, Unusable};

const MAGIC: [u8; 4] = *b"TWCP";
const VERSION: u16 = 1;

const FLAG_CLEAN: u32 = 1;
const FLAG_SYNC_FAILED: u32 = 2;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) high_watermark: Offset,
    pub(crate) log_start: Offset,
    /// Present after a clean shutdown. It counts only while the last segment is still as it says,
    /// so that an append need not wait for the file to be replaced.
    pub(crate) clean: Option<CleanShutdown>,
    /// Where the log was stable when a sync failed. What lies beyond was never acknowledged, and
    /// may look whole in the page cache without being on the disk.
    pub(crate) sync_failed_at: Option<Offset>,
}

/// The end of the log at a clean shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanShutdown {
    pub(crate) last_segment: Offset,
    pub(crate) last_segment_bytes: u64,
    pub(crate) log_end: Offset,
}

impl Checkpoint {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut flags = 0;
        flags |= self.clean.map_or(0, |_| FLAG_CLEAN);
        flags |= self.sync_failed_at.map_or(0, |_| FLAG_SYNC_FAILED);
        let clean = self.clean.unwrap_or(CleanShutdown {
            last_segment: Offset::ZERO,
            last_segment_bytes: 0,
            log_end: Offset::ZERO,
        });
        let mut payload = Vec::with_capacity(52);
        payload.extend_from_slice(&flags.to_be_bytes());
        payload.extend_from_slice(&self.high_watermark.0.to_be_bytes());
        payload.extend_from_slice(&self.log_start.0.to_be_bytes());
        payload.extend_from_slice(&clean.last_segment.0.to_be_bytes());
        payload.extend_from_slice(&clean.last_segment_bytes.to_be_bytes());
        payload.extend_from_slice(&clean.log_end.0.to_be_bytes());
        payload.extend_from_slice(&self.sync_failed_at.unwrap_or_default().0.to_be_bytes());
        checked_file::encode(MAGIC, VERSION, &payload)
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Unusable> {
        let mut fields = checked_file::decode(bytes, MAGIC, VERSION)?;
        let mut parse = || {
            let flags = fields.take_u32()?;
            let high_watermark = Offset(fields.take_i64()?);
            let log_start = Offset(fields.take_i64()?);
            let clean = CleanShutdown {
                last_segment: Offset(fields.take_i64()?),
                last_segment_bytes: fields.take().map(u64::from_be_bytes)?,
                log_end: Offset(fields.take_i64()?),
            };
            let sync_failed_at = Offset(fields.take_i64()?);
            fields.is_empty().then_some(Self {
                high_watermark,
                log_start,
                clean: (flags & FLAG_CLEAN != 0).then_some(clean),
                sync_failed_at: (flags & FLAG_SYNC_FAILED != 0).then_some(sync_failed_at),
            })
        };
        parse().ok_or(Unusable::Damaged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_comes_back() {
        let bare = Checkpoint {
            high_watermark: Offset(7),
            log_start: Offset(3),
            ..Checkpoint::default()
        };
        let full = Checkpoint {
            clean: Some(CleanShutdown {
                last_segment: Offset(5),
                last_segment_bytes: 99,
                log_end: Offset(8),
            }),
            sync_failed_at: Some(Offset(6)),
            ..bare.clone()
        };

        for checkpoint in [bare, full] {
            assert_eq!(
                Checkpoint::decode(&checkpoint.encode()).unwrap(),
                checkpoint
            );
        }
    }
}
