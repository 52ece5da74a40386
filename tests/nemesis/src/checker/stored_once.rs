//! **Stored once**: a log has what was sent, no record twice, and none that was refused.

use std::collections::BTreeMap;

use thalweg_types::{Offset, TopicPartition};

use super::Anomaly;
use crate::history::{Answer, History, Mark, Read};

/// Where each record is.
pub(super) type Places = BTreeMap<Mark, (TopicPartition, Offset)>;

/// Each record was sent, was not refused, and is there once. Notes where it is.
pub(super) fn check(
    history: &History,
    partition: &TopicPartition,
    log: &[Read],
    places: &mut Places,
    anomalies: &mut Vec<Anomaly>,
) {
    for (offset, mark) in log {
        let partition = partition.clone();
        let sent = mark.and_then(|mark| Some((mark, history.sends.get(&mark)?)));
        let Some((mark, send)) = sent else {
            anomalies.push(Anomaly::NeverSent {
                partition,
                offset: *offset,
            });
            continue;
        };
        if matches!(send.answer, Some((_, Answer::Refused { .. }))) {
            anomalies.push(Anomaly::StoredThoughRefused {
                partition: partition.clone(),
                offset: *offset,
                mark,
            });
        }
        let place = (partition, *offset);
        match places.get(&mark) {
            Some(first) => anomalies.push(Anomaly::Duplicated {
                mark,
                places: [first.clone(), place],
            }),
            None => {
                places.insert(mark, place);
            }
        }
    }
}
