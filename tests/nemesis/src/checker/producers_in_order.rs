//! **One producer's records are in the order of their sends.**

use std::collections::BTreeMap;

use thalweg_types::TopicPartition;

use super::Anomaly;
use crate::history::{Mark, Read};

/// Each producer's records come in the order of their numbers. Repetitions are found elsewhere.
pub(super) fn check(partition: &TopicPartition, log: &[Read], anomalies: &mut Vec<Anomaly>) {
    let mut last: BTreeMap<u32, Mark> = BTreeMap::new();
    for (offset, mark) in log {
        let Some(mark) = *mark else { continue };
        let after = last.insert(mark.producer, mark);
        if let Some(after) = after.filter(|after| *after > mark) {
            anomalies.push(Anomaly::Reordered {
                partition: partition.clone(),
                offset: *offset,
                mark,
                after,
            });
        }
    }
}
