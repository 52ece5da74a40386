//! **Only committed records are seen**, each offset once and none left out.

use std::collections::BTreeMap;

use thalweg_types::{Offset, TopicPartition};

use super::Anomaly;
use crate::history::{Mark, Session};

/// A reader goes forward, leaves nothing out, and sees what the log keeps. What comes before
/// `may_start_at` somebody may have had deleted.
pub(super) fn check(
    partition: &TopicPartition,
    session: &Session,
    log: &BTreeMap<Offset, Option<Mark>>,
    may_start_at: Offset,
    anomalies: &mut Vec<Anomaly>,
) {
    let (partition, reader) = (partition.clone(), session.reader.clone());
    for pair in session.reads.windows(2) {
        let (after, next) = (pair[0].0, pair[1].0);
        let (partition, reader) = (partition.clone(), reader.clone());
        if next <= after {
            anomalies.push(Anomaly::ReadBackwards {
                partition,
                reader,
                after,
                next,
            });
        } else if next != after.next() && next > may_start_at {
            anomalies.push(Anomaly::ReadSkipped {
                partition,
                reader,
                after,
                next,
            });
        }
    }
    for (offset, read) in &session.reads {
        let kept = log.get(offset);
        let may_be_gone = kept.is_none() && *offset < may_start_at;
        if kept != Some(read) && !may_be_gone {
            anomalies.push(Anomaly::UncommittedRead {
                partition: partition.clone(),
                reader: reader.clone(),
                offset: *offset,
                read: *read,
                log: kept.copied().flatten(),
            });
        }
    }
}
