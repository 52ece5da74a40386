//! **Copied once**: a transform's output has what its input has, each record once, those of an input partition in its order,
//! and each where its key belongs.

use std::collections::BTreeSet;

use thalweg_client::partition_for_key;
use thalweg_types::{PartitionIndex, TopicPartition};

use super::Anomaly;
use crate::history::{Copied, History, Mark};

/// Each copy is what an undisturbed transform would have made of the input. Where somebody had the input's oldest
/// records deleted, the copy may have some of those as well.
pub(super) fn check(history: &History, anomalies: &mut Vec<Anomaly>) {
    for copied in &history.copies {
        let inputs = history
            .logs
            .iter()
            .filter(|(partition, _)| partition.topic == copied.from);
        let mut seen = BTreeSet::new();
        for (input, log) in inputs {
            let marks: Vec<_> = log.iter().filter_map(|(_, mark)| *mark).collect();
            for number in 0..copied.partition_count {
                check_pair(history, copied, input, &marks, number, anomalies);
            }
        }
        for (output, log) in history
            .copied
            .iter()
            .filter(|(partition, _)| partition.topic == copied.to)
        {
            for (offset, mark) in log {
                let is_known = mark.is_some_and(|mark| history.sends.contains_key(&mark));
                let is_first = mark.is_none_or(|mark| seen.insert(mark));
                if let Some(mark) = mark.filter(|_| is_known && !is_first) {
                    anomalies.push(Anomaly::CopiedTwice {
                        partition: output.clone(),
                        offset: *offset,
                        mark,
                    });
                } else if !is_known {
                    anomalies.push(Anomaly::NeverSent {
                        partition: output.clone(),
                        offset: *offset,
                    });
                }
            }
        }
    }
}

/// What an output partition has of an input partition.
fn check_pair(
    history: &History,
    copied: &Copied,
    input: &TopicPartition,
    marks: &[Mark],
    number: usize,
    anomalies: &mut Vec<Anomaly>,
) {
    let output = TopicPartition {
        topic: copied.to.clone(),
        partition: PartitionIndex(i32::try_from(number).unwrap_or(i32::MAX)),
    };
    let belongs =
        |mark: &Mark| partition_for_key(mark.key().as_bytes(), copied.partition_count) == number;
    let expected: Vec<_> = marks.iter().copied().filter(belongs).collect();
    let of_input: BTreeSet<_> = marks.iter().copied().collect();
    let log = history.copied.get(&output).into_iter().flatten();
    let found: Vec<_> = log
        .filter_map(|(_, mark)| *mark)
        .filter(|mark| of_input.contains(mark))
        .collect();
    // Somebody may have had the copy's oldest records deleted.
    let is_trimmed = history.trimmed.contains_key(&output);
    if found == expected || is_trimmed && expected.ends_with(&found) {
        return;
    }
    let differs = found.iter().zip(&expected).position(|(a, b)| a != b);
    let at = differs.unwrap_or(found.len().min(expected.len()));
    anomalies.push(Anomaly::CopiedOtherwise {
        input: input.clone(),
        output,
        at,
        expected: expected.get(at).copied(),
        found: found.get(at).copied(),
    });
}
