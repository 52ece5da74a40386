//! **Counted once**: a transform that counts the records of a partition gives 1, 2, 3 and so on, up to how many there are: what
//! it keeps is of exactly the position that its output is at, however often it is killed.

use thalweg_types::TopicPartition;

use super::Anomaly;
use crate::history::History;

/// Counts follow each other, and the last is how many records the input has. Where somebody had the oldest records of
/// either deleted, they may begin or end later. Where the input's were deleted before they were in a checkpoint, they
/// go on behind an older count: what is kept lacks them, although the output may have their counts.
pub(super) fn check(history: &History, anomalies: &mut Vec<Anomaly>) {
    for counted in &history.counts {
        let inputs = history.logs.iter();
        for (input, log) in inputs.filter(|(partition, _)| partition.topic == counted.from) {
            let output = TopicPartition {
                topic: counted.to.clone(),
                partition: input.partition,
            };
            let found = history.counted.get(&output).map_or(&[][..], Vec::as_slice);
            let is_trimmed = |partition| history.trimmed.contains_key(partition);
            let first = match found.first() {
                Some(Some(first)) if is_trimmed(&output) => *first,
                _ => 1,
            };
            let differs = first_wrong(found, first, is_trimmed(input));
            let last = found.last().copied().flatten().unwrap_or(0);
            let all = log.len() as u64;
            let is_all = last == all || is_trimmed(input) && last >= all || is_trimmed(&output);
            if differs.is_some() || !is_all {
                anomalies.push(Anomaly::CountedOtherwise {
                    input: input.clone(),
                    record_count: all,
                    at: differs.unwrap_or(found.len()),
                    found: differs.and_then(|at| found[at]),
                    last,
                });
            }
        }
    }
}

/// The first count that is not one more than that before it, nor behind an older one where that may be.
fn first_wrong(found: &[Option<u64>], first: u64, may_go_back: bool) -> Option<usize> {
    let mut expected = first;
    found.iter().position(|count| {
        let Some(count) = *count else { return true };
        let is_right = count == expected || may_go_back && count > 0 && count < expected;
        expected = count + 1;
        !is_right
    })
}
