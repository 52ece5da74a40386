//! Whether a [`History`] keeps what Thalweg promises. Pure. One promise a file.
//!
//! The anomalies are those of Jepsen's queue workload for Kafka-like logs that concern one partition
//! and no transaction, what a group must not do with its offsets, and what a client can't see: copies
//! that differ.

mod anomaly;
mod committed_reads;
mod copied_once;
mod counted_once;
mod end_never_back;
mod groups;
mod nothing_lost;
mod offsets_are_dense;
mod producers_in_order;
mod stored_once;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use self::anomaly::Anomaly;
use self::stored_once::Places;
use crate::history::History;

/// Every promise that the history breaks.
#[must_use]
pub fn check(history: &History) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    let mut places = Places::new();
    for (partition, log) in &history.logs {
        offsets_are_dense::check(partition, log, &mut anomalies);
        producers_in_order::check(partition, log, &mut anomalies);
        stored_once::check(history, partition, log, &mut places, &mut anomalies);
    }
    nothing_lost::check(history, &places, &mut anomalies);
    copied_once::check(history, &mut anomalies);
    counted_once::check(history, &mut anomalies);
    for (partition, sessions) in &history.sessions {
        let log: BTreeMap<_, _> = history
            .logs
            .get(partition)
            .into_iter()
            .flatten()
            .copied()
            .collect();
        for session in sessions {
            let may_start_at = history.may_start_at(partition);
            committed_reads::check(partition, session, &log, may_start_at, &mut anomalies);
        }
    }
    end_never_back::check(history, &mut anomalies);
    groups::check(history, &mut anomalies);
    for (partition, copies) in &history.diverging {
        anomalies.extend(copies.iter().map(|copy| Anomaly::Diverging {
            partition: partition.clone(),
            copy: copy.clone(),
        }));
    }
    anomalies
}
