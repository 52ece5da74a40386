//! **A log's end never goes back.**

use thalweg_types::Offset;

use super::Anomaly;
use crate::history::History;

/// What one client is told of a log's end only grows.
pub(super) fn check(history: &History, anomalies: &mut Vec<Anomaly>) {
    for (partition, ends) in &history.ends {
        let mut known = Offset::ZERO;
        for (_, told) in ends {
            if *told < known {
                anomalies.push(Anomaly::EndWentBack {
                    partition: partition.clone(),
                    known,
                    told: *told,
                });
            }
            known = known.max(*told);
        }
    }
}
