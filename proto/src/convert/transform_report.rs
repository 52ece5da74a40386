//! What the runners of transforms say.

use thalweg_types::{LeaderEpoch, Offset, PartitionIndex, TransformReport, TransformRunState};

use super::field::{InvalidField, parse};
use super::transform::transform_number;
use crate::v1;

impl TryFrom<v1::TransformReport> for TransformReport {
    type Error = InvalidField;

    fn try_from(message: v1::TransformReport) -> Result<Self, InvalidField> {
        let state = match message.state() {
            v1::TransformRunState::Starting => TransformRunState::Starting,
            v1::TransformRunState::Running => TransformRunState::Running,
            v1::TransformRunState::Waiting => TransformRunState::Waiting,
            v1::TransformRunState::Failed => TransformRunState::Failed,
            v1::TransformRunState::Unspecified => return Err(InvalidField::missing("state")),
        };
        let v1::TransformReport {
            transform,
            number,
            topic,
            partition,
            leader_epoch,
            state: _,
            reason,
            position,
            end,
            lag_ms,
            records_in,
            records_out,
            failed,
            restarts,
            modules,
            late,
            duplicates,
            state_entries,
            state_bytes,
        } = message;
        Ok(Self {
            transform: parse("transform", &transform)?,
            number: transform_number("number", number)?,
            topic: parse("topic", &topic)?,
            partition: PartitionIndex(partition),
            leader_epoch: LeaderEpoch(leader_epoch),
            state,
            reason,
            position: Offset(position),
            end: Offset(end),
            lag_ms,
            records_in,
            records_out,
            failed,
            late,
            duplicates,
            state_entries,
            state_bytes,
            restarts,
            modules,
        })
    }
}

impl From<TransformReport> for v1::TransformReport {
    fn from(report: TransformReport) -> Self {
        let TransformReport {
            transform,
            number,
            topic,
            partition,
            leader_epoch,
            state,
            reason,
            position,
            end,
            lag_ms,
            records_in,
            records_out,
            failed,
            late,
            duplicates,
            state_entries,
            state_bytes,
            restarts,
            modules,
        } = report;
        let state = match state {
            TransformRunState::Starting => v1::TransformRunState::Starting,
            TransformRunState::Running => v1::TransformRunState::Running,
            TransformRunState::Waiting => v1::TransformRunState::Waiting,
            TransformRunState::Failed => v1::TransformRunState::Failed,
        };
        Self {
            transform: transform.to_string(),
            number: number.0,
            topic: topic.to_string(),
            partition: partition.0,
            leader_epoch: leader_epoch.0,
            state: state.into(),
            reason,
            position: position.0,
            end: end.0,
            lag_ms,
            records_in,
            records_out,
            failed,
            restarts,
            modules,
            late,
            duplicates,
            state_entries,
            state_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::TransformNumber;

    use super::*;

    #[test]
    fn reports_survive_the_way_there_and_back() {
        let report = TransformReport {
            transform: "late-flights".parse().unwrap(),
            number: TransformNumber(7),
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(3),
            leader_epoch: LeaderEpoch(2),
            state: TransformRunState::Waiting,
            reason: "topic `late` has no leader".to_owned(),
            position: Offset(100),
            end: Offset(120),
            lag_ms: 1_500,
            records_in: 100,
            records_out: 40,
            failed: 1,
            late: 3,
            duplicates: 5,
            state_entries: 70,
            state_bytes: 4_096,
            restarts: 2,
            modules: "late@1.2.0".to_owned(),
        };

        let there = v1::TransformReport::from(report.clone());

        assert_eq!(report.lag_records(), 20);
        assert_eq!(TransformReport::try_from(there), Ok(report));
    }
}
