//! How a transform fares, partition by partition: what its runners say, beside who is to run it. Pure.

use std::collections::BTreeMap;

use thalweg_types::resource::{Partition, Transform, TransformState};
use thalweg_types::{SpuId, TopicPartition, TransformReport, TransformRunState};

use crate::state::Observed;

/// How a transform fares on one partition of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OnPartition {
    pub(crate) input: TopicPartition,
    pub(crate) leader: Option<SpuId>,
    /// Why it is not known how it fares, for people, where it is not.
    pub(crate) report: Result<TransformReport, String>,
}

/// How a transform fares on the whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) partitions: usize,
    pub(crate) running: usize,
    pub(crate) failed: usize,
    pub(crate) lag_records: i64,
    pub(crate) lag_ms: i64,
}

/// Every partition of the inputs, in their order, with what was `said` last of it.
pub(crate) fn partitions(
    observed: &Observed,
    transform: &Transform,
    said: Vec<(SpuId, TransformReport)>,
) -> Vec<OnPartition> {
    let mut said: BTreeMap<TopicPartition, (SpuId, TransformReport)> = said
        .into_iter()
        .map(|(spu, report)| {
            let input = TopicPartition {
                topic: report.topic.clone(),
                partition: report.partition,
            };
            (input, (spu, report))
        })
        .collect();
    let inputs = transform.spec.inputs.iter();
    let inputs = inputs.flat_map(|topic| observed.partitions_of(topic));
    inputs
        .map(|partition| {
            let input = partition.topic_partition();
            let said = said.remove(&input);
            OnPartition {
                leader: partition.status.leader,
                report: report(transform, partition, said),
                input,
            }
        })
        .collect()
}

fn report(
    transform: &Transform,
    partition: &Partition,
    said: Option<(SpuId, TransformReport)>,
) -> Result<TransformReport, String> {
    let Some(leader) = partition.status.leader else {
        let reason = &partition.status.reason;
        return Err(format!("the partition has no leader: {reason}"));
    };
    match said {
        // A former leader's word says nothing of what is.
        Some((spu, report)) if spu == leader => Ok(report),
        _ => Err(match transform.status.state {
            TransformState::Paused => "the transform is paused".to_owned(),
            TransformState::Pending => "the transform can't run".to_owned(),
            TransformState::Running => {
                format!("SPU {leader} leads the partition, and has not said yet how it fares")
            }
        }),
    }
}

/// The sum of all partitions.
pub(crate) fn summary(partitions: &[OnPartition]) -> Summary {
    let mut summary = Summary {
        partitions: partitions.len(),
        ..Summary::default()
    };
    let reports = partitions.iter().filter_map(|one| one.report.as_ref().ok());
    for report in reports {
        summary.running += usize::from(report.state == TransformRunState::Running);
        summary.failed += usize::from(report.state == TransformRunState::Failed);
        summary.lag_records = summary.lag_records.saturating_add(report.lag_records());
        summary.lag_ms = summary.lag_ms.max(report.lag_ms);
    }
    summary
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{
        PartitionSpec, PartitionStatus, ResourceVersion, TransformNumber, TransformStatus,
    };
    use thalweg_types::{
        LeaderEpoch, Offset, PartitionEpoch, PartitionId, PartitionIndex, TopicId,
    };
    use uuid::Uuid;

    use super::super::rules::tests::{observed, transform};
    use super::*;

    fn partition(topic: &str, number: i32, leader: Option<i32>) -> Partition {
        Partition {
            topic: topic.parse().unwrap(),
            id: PartitionId {
                topic: TopicId(Uuid::nil()),
                partition: PartitionIndex(number),
            },
            spec: PartitionSpec::held_by(vec![SpuId(0)]),
            status: PartitionStatus {
                leader: leader.map(SpuId),
                leader_epoch: LeaderEpoch(1),
                isr: vec![SpuId(0)],
                partition_epoch: PartitionEpoch(1),
                reason: "SPU 0 is down".to_owned(),
                unclean_elections: 0,
            },
            version: ResourceVersion(1),
        }
    }

    fn said(topic: &str, number: i32, state: TransformRunState, lag: i64) -> TransformReport {
        TransformReport {
            transform: "x".parse().unwrap(),
            number: TransformNumber(1),
            topic: topic.parse().unwrap(),
            partition: PartitionIndex(number),
            leader_epoch: LeaderEpoch(1),
            state,
            reason: String::new(),
            position: Offset(100 - lag),
            end: Offset(100),
            lag_ms: lag * 1000,
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

    #[test]
    fn every_input_partition_is_shown_with_what_its_leader_said_or_why_nothing_is_known() {
        let mut observed = observed();
        for (topic, number, leader) in [("a", 0, Some(0)), ("a", 1, Some(1)), ("b", 0, None)] {
            let partition = partition(topic, number, leader);
            observed
                .partitions
                .insert(partition.topic_partition(), partition);
        }
        let running = TransformStatus {
            state: TransformState::Running,
            reason: String::new(),
            history: Vec::new(),
        };
        let wanted = Transform {
            status: running,
            ..transform("x", 1, "b a", "c")
        };
        let of_a = |number| said("a", number, TransformRunState::Running, 5);
        let said = vec![(SpuId(0), of_a(0)), (SpuId(0), of_a(1))];

        let shown = partitions(&observed, &wanted, said);

        let names: Vec<_> = shown.iter().map(|one| one.input.to_string()).collect();
        assert_eq!(names, ["b-0", "a-0", "a-1"]);
        let no_leader = shown[0].report.as_ref().unwrap_err();
        assert!(no_leader.contains("SPU 0 is down"), "{no_leader}");
        assert_eq!(shown[1].report, Ok(of_a(0)));
        let former = shown[2].report.as_ref().unwrap_err();
        assert!(former.contains("SPU 1 leads"), "{former}");
    }

    #[test]
    fn the_summary_adds_up_what_is_known() {
        let on = |number, state, lag| OnPartition {
            input: partition("a", number, Some(0)).topic_partition(),
            leader: Some(SpuId(0)),
            report: Ok(said("a", number, state, lag)),
        };
        let unknown = OnPartition {
            input: partition("a", 3, None).topic_partition(),
            leader: None,
            report: Err("the partition has no leader".to_owned()),
        };
        let shown = [
            on(0, TransformRunState::Running, 5),
            on(1, TransformRunState::Failed, 7),
            on(2, TransformRunState::Starting, 0),
            unknown,
        ];

        assert_eq!(
            summary(&shown),
            Summary {
                partitions: 4,
                running: 1,
                failed: 1,
                lag_records: 12,
                lag_ms: 7_000,
            }
        );
    }
}
