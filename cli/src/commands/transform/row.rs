//! One transform as the commands show it.

use serde::Serialize;
use thalweg_client::resource::{
    BackfillSpec, CanarySpec, OutputPartitioning, StartPosition, Transform, TransformNumber,
    TransformState,
};
use thalweg_types::{Capabilities, ChainSpec, LookBack, ResourceName, TopicName};

/// A transform in short.
#[derive(Debug, Serialize)]
pub(super) struct TransformRow {
    pub(super) name: ResourceName,
    /// What its outputs know it by.
    pub(super) number: TransformNumber,
    pub(super) state: TransformState,
    /// Why it can't run.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) reason: String,
    pub(super) inputs: Vec<TopicName>,
    pub(super) outputs: Vec<TopicName>,
    pub(super) transforms: ChainSpec,
    pub(super) start: StartPosition,
    pub(super) partitioning: OutputPartitioning,
    pub(super) compression: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dedup: Option<LookBack>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tables: Vec<TopicName>,
    #[serde(skip_serializing_if = "Capabilities::is_empty")]
    pub(super) capabilities: Capabilities,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) canary: Option<CanarySpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) backfill: Option<BackfillSpec>,
    pub(super) paused: bool,
}

impl From<Transform> for TransformRow {
    fn from(transform: Transform) -> Self {
        let spec = transform.spec;
        Self {
            name: transform.name,
            number: transform.number,
            state: transform.status.state,
            reason: transform.status.reason,
            inputs: spec.inputs,
            outputs: spec.outputs,
            transforms: spec.chain,
            start: spec.start,
            partitioning: spec.partitioning,
            compression: spec.compression.name(),
            dedup: spec.dedup,
            tables: spec.tables,
            capabilities: spec.capabilities,
            canary: spec.canary,
            backfill: spec.backfill,
            paused: spec.paused,
        }
    }
}

impl TransformRow {
    /// The state, with what is tried beside.
    pub(super) fn short_state(&self) -> String {
        let canary = self.canary.as_ref();
        let canary = canary.map(|canary| format!("canary {}%", canary.percent));
        let backfill = self.backfill.as_ref().map(|_| "backfill".to_owned());
        let beside: Vec<_> = canary.into_iter().chain(backfill).collect();
        if beside.is_empty() {
            self.state.to_string()
        } else {
            format!("{} ({})", self.state, beside.join(", "))
        }
    }

    /// The state, and why it is not running.
    pub(super) fn state_text(&self) -> String {
        if self.reason.is_empty() {
            self.state.to_string()
        } else {
            format!("{} ({})", self.state, self.reason)
        }
    }
}

/// The names with commas in between.
pub(super) fn names(topics: &[TopicName]) -> String {
    let names: Vec<_> = topics.iter().map(ToString::to_string).collect();
    names.join(",")
}

#[cfg(test)]
pub(super) mod tests {
    use thalweg_types::{OnError, StepSpec};

    use super::*;

    pub(in crate::commands::transform) fn late_flights() -> TransformRow {
        let step = StepSpec {
            uses: "late@1.2.0".parse().unwrap(),
            with: [("minutes".to_owned(), "60".to_owned())].into(),
            look_back: None,
            on_error: OnError::Skip,
            aggregate: None,
        };
        TransformRow {
            name: "late-flights".parse().unwrap(),
            number: TransformNumber(7),
            state: TransformState::Running,
            reason: String::new(),
            inputs: vec!["flights".parse().unwrap(), "trains".parse().unwrap()],
            outputs: vec!["late".parse().unwrap()],
            transforms: ChainSpec { steps: vec![step] },
            start: StartPosition::Beginning,
            partitioning: OutputPartitioning::Key,
            compression: "uncompressed",
            dedup: None,
            tables: Vec::new(),
            capabilities: Capabilities::default(),
            canary: None,
            backfill: None,
            paused: false,
        }
    }
}
