//! What the runners of transforms say of themselves, as far as their SPUs are connected. In memory alone:
//! an SPU that registers says all of it again.
//!
//! Bounded by transforms and partitions: the newest reign's word about a transform on a partition replaces
//! what was said before.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use thalweg_proto::{InvalidField, v1};
use thalweg_types::resource::TransformNumber;
use thalweg_types::{PartitionIndex, SpuId, TopicName, TransformReport};

/// A transform on one input partition.
type Runner = (TransformNumber, TopicName, PartitionIndex);

/// What one SPU says of its runners.
#[derive(Debug, Default)]
pub(super) struct RunnerNews {
    reports: Vec<TransformReport>,
    ended: Vec<Runner>,
}

/// What each runner said last, and on which SPU it is.
#[derive(Debug, Default)]
pub(crate) struct RunnerReports {
    newest: Mutex<BTreeMap<Runner, (SpuId, TransformReport)>>,
}

impl RunnerReports {
    /// Takes what an SPU says.
    pub(super) fn hear(&self, spu: SpuId, news: RunnerNews) {
        let mut newest = self.newest();
        for runner in news.ended {
            // Another SPU may run it by now.
            if newest.get(&runner).is_some_and(|(of, _)| *of == spu) {
                newest.remove(&runner);
            }
        }
        for report in news.reports {
            let runner = (report.number, report.topic.clone(), report.partition);
            let is_late = newest
                .get(&runner)
                .is_some_and(|(_, known)| known.leader_epoch > report.leader_epoch);
            if !is_late {
                newest.insert(runner, (spu, report));
            }
        }
    }

    /// Forgets what an SPU said that is not connected any more, or begins anew.
    pub(super) fn forget(&self, spu: SpuId) {
        self.newest().retain(|_, (of, _)| *of != spu);
    }

    /// What is said of a transform, in the order of its input topics' names and their partitions.
    pub(crate) fn of(&self, number: TransformNumber) -> Vec<(SpuId, TransformReport)> {
        let newest = self.newest();
        let of_it = newest.iter().filter(|((of, _, _), _)| *of == number);
        of_it.map(|(_, said)| said.clone()).collect()
    }

    fn newest(&self) -> MutexGuard<'_, BTreeMap<Runner, (SpuId, TransformReport)>> {
        self.newest
            .lock()
            .expect("nothing panics while it holds the reports")
    }
}

impl TryFrom<v1::TransformReports> for RunnerNews {
    type Error = InvalidField;

    fn try_from(message: v1::TransformReports) -> Result<Self, InvalidField> {
        let v1::TransformReports { reports, ended } = message;
        let reports = reports.into_iter().map(TransformReport::try_from);
        let ended = ended.into_iter().map(|runner| {
            let v1::TransformRunner {
                number,
                topic,
                partition,
            } = runner;
            let topic = topic
                .parse()
                .map_err(|error| InvalidField::new("topic", error))?;
            Ok((TransformNumber(number), topic, PartitionIndex(partition)))
        });
        Ok(Self {
            reports: reports
                .collect::<Result<_, _>>()
                .map_err(|error| error.under("reports"))?,
            ended: ended
                .collect::<Result<_, InvalidField>>()
                .map_err(|error| error.under("ended"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{LeaderEpoch, Offset, TransformRunState};

    use super::*;

    const NUMBER: TransformNumber = TransformNumber(7);

    fn report(partition: i32, leader_epoch: i32) -> TransformReport {
        TransformReport {
            transform: "late".parse().unwrap(),
            number: NUMBER,
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(partition),
            leader_epoch: LeaderEpoch(leader_epoch),
            state: TransformRunState::Running,
            reason: String::new(),
            position: Offset(1),
            end: Offset(1),
            lag_ms: 0,
            records_in: 1,
            records_out: 1,
            failed: 0,
            late: 0,
            duplicates: 0,
            state_entries: 0,
            state_bytes: 0,
            restarts: 0,
            modules: String::new(),
        }
    }

    fn says(reports: &RunnerReports, spu: i32, said: Vec<TransformReport>) {
        let news = RunnerNews {
            reports: said,
            ended: Vec::new(),
        };
        reports.hear(SpuId(spu), news);
    }

    fn ends(reports: &RunnerReports, spu: i32, partition: i32) {
        let runner = (
            NUMBER,
            "flights".parse().unwrap(),
            PartitionIndex(partition),
        );
        let news = RunnerNews {
            reports: Vec::new(),
            ended: vec![runner],
        };
        reports.hear(SpuId(spu), news);
    }

    #[test]
    fn the_newest_reigns_word_counts_in_whatever_order_it_comes() {
        let reports = RunnerReports::default();
        says(&reports, 1, vec![report(0, 2)]);

        says(&reports, 0, vec![report(0, 1)]);
        ends(&reports, 0, 0);

        assert_eq!(reports.of(NUMBER), [(SpuId(1), report(0, 2))]);
        assert_eq!(reports.of(TransformNumber(8)), []);
    }

    #[test]
    fn runners_that_end_and_spus_that_leave_are_forgotten() {
        let reports = RunnerReports::default();
        says(&reports, 0, vec![report(0, 1), report(1, 1)]);
        says(&reports, 1, vec![report(2, 1)]);

        ends(&reports, 0, 0);
        reports.forget(SpuId(1));

        assert_eq!(reports.of(NUMBER), [(SpuId(0), report(1, 1))]);
    }
}
