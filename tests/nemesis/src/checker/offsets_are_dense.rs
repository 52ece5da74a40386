//! **Offsets are dense**: a log has a record at each of them.

use thalweg_types::TopicPartition;

use super::Anomaly;
use crate::history::Read;

/// Offsets are given one after the other.
pub(super) fn check(partition: &TopicPartition, log: &[Read], anomalies: &mut Vec<Anomaly>) {
    for pair in log.windows(2) {
        let (after, next) = (pair[0].0, pair[1].0);
        if next != after.next() {
            anomalies.push(Anomaly::Gap {
                partition: partition.clone(),
                after,
                next,
            });
        }
    }
}
