//! What a transform ran, as its status keeps it: in the form that a spec has.

use serde_json::{Value, json};
use thalweg_k8s_crd::{TransformRevision as Object, TransformSpec as ObjectSpec};
use thalweg_types::CompressionPolicy;
use thalweg_types::resource::{RevisionSpec, StartPosition, TransformRevision, TransformSpec};

use super::to_value;
use super::transform::{spec, spec_of};

/// The revisions of a status. One that can't be read is left out: nothing runs by it.
pub(super) fn history(revisions: Vec<Object>) -> Vec<TransformRevision> {
    let read = revisions.into_iter().filter_map(|revision| {
        let Object {
            revision,
            at_ms,
            runs,
        } = revision;
        Some(TransformRevision {
            revision: u64::try_from(revision).ok()?,
            at_ms,
            runs: runs_from(runs)?,
        })
    });
    read.collect()
}

pub(super) fn history_of(history: &[TransformRevision]) -> Vec<Object> {
    let written = history.iter().map(|revision| Object {
        revision: i64::try_from(revision.revision).unwrap_or(i64::MAX),
        at_ms: revision.at_ms,
        runs: runs_of(&revision.runs),
    });
    written.collect()
}

fn runs_from(mut runs: Value) -> Option<RevisionSpec> {
    let fields = runs.as_object_mut()?;
    for topics in TOPICS {
        fields.insert(topics.to_owned(), json!([]));
    }
    let object: ObjectSpec = serde_json::from_value(runs).ok()?;
    let spec = spec(object).ok()?;
    let chain = spec.chain.clone();
    Some(RevisionSpec::of(&spec, chain))
}

fn runs_of(runs: &RevisionSpec) -> Value {
    let nothing = TransformSpec {
        inputs: Vec::new(),
        outputs: Vec::new(),
        chain: runs.chain.clone(),
        start: StartPosition::default(),
        partitioning: runs.partitioning,
        compression: CompressionPolicy::Uncompressed,
        dedup: None,
        tables: Vec::new(),
        capabilities: thalweg_types::Capabilities::default(),
        canary: None,
        backfill: None,
        paused: false,
    };
    let mut object = to_value(&spec_of(&runs.in_place_of(&nothing)));
    if let Some(fields) = object.as_object_mut() {
        for topics in TOPICS {
            fields.remove(topics);
        }
    }
    object
}

/// What a spec has and a revision has not.
const TOPICS: [&str; 2] = ["inputs", "outputs"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_that_nobody_can_read_is_left_out() {
        let revision = |runs: Value| Object {
            revision: 1,
            at_ms: 2,
            runs,
        };
        let good = revision(json!({"transforms": [{"uses": "late@1.2.0"}]}));

        let read = history(vec![
            revision(json!({"transforms": [{"uses": "Late"}]})),
            revision(json!([])),
            good.clone(),
        ]);

        assert_eq!(read.len(), 1);
        assert_eq!(history_of(&read), [good]);
    }
}
