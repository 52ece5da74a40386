//! What the runners of transforms say of themselves, for the SC: kept until the control client has told it.
//!
//! Bounded by the number of runners: what is newer about a runner replaces what is older.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard};

use thalweg_proto::v1;
use thalweg_types::resource::TransformNumber;
use thalweg_types::{PartitionIndex, TopicName, TransformReport};

/// A transform on one input partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Runner {
    number: TransformNumber,
    topic: TopicName,
    partition: PartitionIndex,
}

/// The newest word of each runner, and what of it is untold. Shared by all runners.
#[derive(Debug, Default)]
pub struct RunnerReports {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    newest: BTreeMap<Runner, TransformReport>,
    untold: BTreeSet<Runner>,
    /// Told of, and gone since.
    ended: BTreeSet<Runner>,
}

/// What the SC is to be told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RunnerNews {
    reports: Vec<TransformReport>,
    ended: Vec<Runner>,
}

impl RunnerReports {
    /// Notes how a runner fares; what is known already is not told again.
    pub fn set(&self, report: TransformReport) {
        let runner = Runner {
            number: report.number,
            topic: report.topic.clone(),
            partition: report.partition,
        };
        let mut state = self.state();
        if state.newest.get(&runner) == Some(&report) {
            return;
        }
        state.ended.remove(&runner);
        state.untold.insert(runner.clone());
        state.newest.insert(runner, report);
    }

    /// Forgets a runner that has ended.
    pub fn remove(&self, number: TransformNumber, topic: &TopicName, partition: PartitionIndex) {
        let runner = Runner {
            number,
            topic: topic.clone(),
            partition,
        };
        let mut state = self.state();
        state.untold.remove(&runner);
        if state.newest.remove(&runner).is_some() {
            state.ended.insert(runner);
        }
    }

    /// A new stream to the SC has begun, which knows nothing: everything is to be told again.
    pub(crate) fn tell_all_again(&self) {
        let mut state = self.state();
        state.untold = state.newest.keys().cloned().collect();
        state.ended.clear();
    }

    /// Takes what is to be told, of up to `count` runners; `None` where that is nothing.
    pub(crate) fn take(&self, count: usize) -> Option<RunnerNews> {
        let mut state = self.state();
        let mut news = RunnerNews {
            reports: Vec::new(),
            ended: Vec::new(),
        };
        for _ in 0..count {
            if let Some(runner) = state.ended.pop_first() {
                news.ended.push(runner);
            } else if let Some(runner) = state.untold.pop_first() {
                news.reports.extend(state.newest.get(&runner).cloned());
            } else {
                break;
            }
        }
        let is_something = !news.reports.is_empty() || !news.ended.is_empty();
        is_something.then_some(news)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nobody panics while holding the reports")
    }
}

impl From<RunnerNews> for v1::TransformReports {
    fn from(news: RunnerNews) -> Self {
        let RunnerNews { reports, ended } = news;
        let runner = |runner: Runner| v1::TransformRunner {
            number: runner.number.0,
            topic: runner.topic.to_string(),
            partition: runner.partition.0,
        };
        Self {
            reports: reports.into_iter().map(Into::into).collect(),
            ended: ended.into_iter().map(runner).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{LeaderEpoch, Offset, TransformRunState};

    use super::*;

    fn report(partition: i32, position: i64) -> TransformReport {
        TransformReport {
            transform: "late".parse().unwrap(),
            number: TransformNumber(7),
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(partition),
            leader_epoch: LeaderEpoch(1),
            state: TransformRunState::Running,
            reason: String::new(),
            position: Offset(position),
            end: Offset(100),
            lag_ms: 0,
            records_in: 0,
            records_out: 0,
            failed: 0,
            late: 0,
            duplicates: 0,
            state_entries: 0,
            state_bytes: 0,
            restarts: 0,
            modules: String::new(),
        }
    }

    fn remove(reports: &RunnerReports, partition: i32) {
        let report = report(partition, 0);
        reports.remove(report.number, &report.topic, report.partition);
    }

    fn told(reports: &RunnerReports) -> (Vec<TransformReport>, usize) {
        match reports.take(100) {
            Some(news) => (news.reports, news.ended.len()),
            None => (Vec::new(), 0),
        }
    }

    #[test]
    fn only_what_has_changed_is_told_and_only_the_newest_of_it() {
        let reports = RunnerReports::default();
        reports.set(report(0, 1));
        reports.set(report(0, 2));
        assert_eq!(told(&reports), (vec![report(0, 2)], 0));

        reports.set(report(0, 2));

        assert_eq!(reports.take(100), None);
    }

    #[test]
    fn a_new_stream_is_told_of_all_runners_that_there_are() {
        let reports = RunnerReports::default();
        reports.set(report(0, 1));
        reports.set(report(1, 1));
        told(&reports);
        remove(&reports, 1);

        reports.tell_all_again();

        assert_eq!(told(&reports), (vec![report(0, 1)], 0));
    }

    #[test]
    fn the_end_of_a_runner_is_told_once_unless_it_has_begun_again() {
        let reports = RunnerReports::default();
        reports.set(report(0, 1));
        reports.set(report(1, 1));
        told(&reports);

        remove(&reports, 0);
        remove(&reports, 1);
        reports.set(report(1, 2));

        assert_eq!(told(&reports), (vec![report(1, 2)], 1));
        assert_eq!(reports.take(100), None);
    }

    #[test]
    fn many_runners_come_in_several_takes() {
        let reports = RunnerReports::default();
        for partition in 0..5 {
            reports.set(report(partition, 1));
        }

        let sizes: Vec<_> = std::iter::from_fn(|| reports.take(2))
            .map(|news| news.reports.len())
            .collect();

        assert_eq!(sizes, [2, 2, 1]);
    }
}
