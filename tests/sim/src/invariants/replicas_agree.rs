//! **Replicas agree below the high watermark**, and what is committed never changes: whoever says that
//! a batch is committed has the very bytes that everybody else has there, now and in every later life.

use std::collections::BTreeMap;

use thalweg_record::batches;
use thalweg_storage::Log;
use thalweg_types::{Offset, PartitionId};

use super::{Copy, offsets_are_dense};

/// How much of a log is read at a time.
const READ_BYTES: u32 = 1 << 20;

#[derive(Debug, Default)]
pub(super) struct ReplicasAgree {
    /// Each partition's committed batches by their first offset, as the first copy had them.
    committed: BTreeMap<PartitionId, BTreeMap<Offset, Vec<u8>>>,
    /// Up to where each copy was compared.
    compared_to: BTreeMap<usize, Offset>,
}

impl ReplicasAgree {
    pub(super) fn look(&mut self, copy: Copy, log: &Log) -> Vec<String> {
        let mut broken = Vec::new();
        let until = log.high_watermark();
        let start = log.log_start();
        let next = self.compared_to.entry(copy.number).or_insert(start);
        let committed = self.committed.entry(copy.partition).or_default();
        let (spu, id) = (copy.spu, copy.partition);
        // What was trimmed can't be read any more.
        *next = start.max(*next);
        while *next < until {
            // A log that is out of use is no copy.
            let Ok(slice) = log.read(*next, READ_BYTES, until) else {
                break;
            };
            let Ok(bytes) = slice.read_bytes() else { break };
            let from = *next;
            for batch in batches(&bytes) {
                let Ok(batch) = batch else {
                    broken.push(format!(
                        "replicas agree: SPU {spu} serves damaged bytes of {id}"
                    ));
                    return broken;
                };
                let base = batch.header().base_offset;
                // A log may start inside of a batch.
                if *next > start || base > start {
                    broken.extend(offsets_are_dense(spu, id, *next, base));
                }
                let first = committed
                    .entry(base)
                    .or_insert_with(|| batch.bytes().to_vec());
                if first != batch.bytes() {
                    broken.push(format!(
                        "replicas agree: SPU {spu} has other bytes at {base} of {id}, which is committed"
                    ));
                }
                *next = batch.header().next_offset();
            }
            if *next == from {
                break;
            }
        }
        broken
    }
}
