//! **No acknowledged record is lost**, nor moved.

use super::Anomaly;
use super::stored_once::Places;
use crate::history::{Answer, History};

/// Each acknowledged record is in the log, where it was said to be, unless somebody had it deleted.
pub(super) fn check(history: &History, places: &Places, anomalies: &mut Vec<Anomaly>) {
    for (mark, send) in &history.sends {
        let Some((_, Answer::Stored { partition, offset })) = &send.answer else {
            continue;
        };
        let Some((found_in, found)) = places.get(mark) else {
            // Who is not told where it is can't say that it is not there.
            if offset.unwrap_or_default() < history.may_start_at(partition) {
                continue;
            }
            anomalies.push(Anomaly::Lost {
                partition: partition.clone(),
                mark: *mark,
                offset: *offset,
            });
            continue;
        };
        let said = offset.unwrap_or(*found);
        if (found_in, *found) != (partition, said) {
            anomalies.push(Anomaly::Elsewhere {
                mark: *mark,
                said,
                found: *found,
                partition: found_in.clone(),
            });
        }
    }
}
