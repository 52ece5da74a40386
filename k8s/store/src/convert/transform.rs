//! Transforms. The spec is its author's, the number that the SC gave it is the status's: an object that is
//! copied without its status is another transform. Nothing hangs on one, so it bears no finalizer.

use kube::core::DynamicObject;
use thalweg_k8s_crd::{
    Backfill, BackfillNumber, Canary, Transform as Object, TransformSpec as ObjectSpec,
    TransformStatus as ObjectStatus, Verdict,
};
use thalweg_types::resource::{
    BackfillSpec, CanarySpec, OutputPartitioning, StartPosition, Transform, TransformNumber,
    TransformSpec, TransformState, TransformStatus,
};
use thalweg_types::{CompressionPolicy, TopicName};

use super::capabilities::{capabilities_from, capabilities_of};
use super::chain::{chain, look_back, look_back_of, steps_of};
use super::transform_history::{history, history_of};
use super::{Reading, Stamp, Unreadable, typed, unreadable};

const PENDING: &str = "Pending";
const RUNNING: &str = "Running";
const PAUSED: &str = "Paused";

pub(super) fn read(object: &DynamicObject) -> Result<Reading, Unreadable> {
    let (typed, version): (Object, _) = typed(object)?;
    let bad = |error: &dyn std::fmt::Display| unreadable(object, error);
    let name = object.metadata.name.as_deref().unwrap_or_default();
    let name = name.parse().map_err(|error| bad(&error))?;
    let before = typed.status.unwrap_or_default();
    let Some(number) = before.number else {
        return Ok(Reading::Unadopted);
    };
    let spec = spec(typed.spec).map_err(|error| bad(&error))?;
    let (number, backfill_number) =
        numbers(&spec, number, before.backfill).map_err(|error| bad(&error))?;
    let row = Transform {
        name,
        number,
        backfill_number,
        spec,
        status: TransformStatus {
            state: match before.state.as_str() {
                RUNNING => TransformState::Running,
                PAUSED => TransformState::Paused,
                _ => TransformState::Pending,
            },
            reason: before.reason,
            history: history(before.history),
        },
        version,
    };
    Ok(Reading::Row(row.into()))
}

/// The numbers of a transform and of its backfill. That of a backfill goes with its outputs, wherever the spec has them: one write of
/// the spec is all that it takes for a backfill to take the transform's place.
fn numbers(
    spec: &TransformSpec,
    number: i64,
    backfill: Option<BackfillNumber>,
) -> Result<(TransformNumber, Option<TransformNumber>), String> {
    let number = number_from(number)?;
    let Some(backfill) = backfill else {
        return Ok((number, None));
    };
    let (outputs, of_outputs) = (topics(&backfill.outputs)?, number_from(backfill.number)?);
    if spec.outputs == outputs {
        return Ok((of_outputs, None));
    }
    let is_of_it = spec
        .backfill
        .as_ref()
        .is_some_and(|backfill| backfill.outputs == outputs);
    Ok((number, is_of_it.then_some(of_outputs)))
}

fn number_from(number: i64) -> Result<TransformNumber, String> {
    let number = u64::try_from(number).map(TransformNumber);
    let number = number.map_err(|error| error.to_string())?;
    if number > TransformNumber::MAX {
        return Err(format!("number {number}"));
    }
    Ok(number)
}

pub(super) fn spec(spec: ObjectSpec) -> Result<TransformSpec, String> {
    let ObjectSpec {
        inputs,
        outputs,
        transforms,
        start,
        partitioning,
        compression,
        dedup,
        tables,
        capabilities,
        canary,
        backfill,
        paused,
    } = spec;
    Ok(TransformSpec {
        inputs: topics(&inputs)?,
        outputs: topics(&outputs)?,
        chain: chain(transforms)?,
        start: text_or_default(start.as_deref())?,
        partitioning: text_or_default(partitioning.as_deref())?,
        compression: match compression {
            None => CompressionPolicy::Uncompressed,
            Some(name) => CompressionPolicy::of_name(&name)
                .ok_or_else(|| format!("`{name}` is no compression"))?,
        },
        dedup: dedup.map(look_back),
        tables: topics(&tables)?,
        capabilities: capabilities
            .map(capabilities_from)
            .transpose()?
            .unwrap_or_default(),
        canary: canary.map(canary_from).transpose()?,
        backfill: backfill.map(backfill_from).transpose()?,
        paused,
    })
}

fn canary_from(canary: Canary) -> Result<CanarySpec, String> {
    let Canary {
        percent,
        transforms,
    } = canary;
    Ok(CanarySpec {
        percent: u8::try_from(percent).map_err(|_| format!("{percent} is no percentage"))?,
        chain: chain(transforms)?,
    })
}

fn canary_of(canary: &CanarySpec) -> Canary {
    let CanarySpec { percent, chain } = canary;
    Canary {
        percent: i32::from(*percent),
        transforms: steps_of(chain),
    }
}

fn backfill_from(backfill: Backfill) -> Result<BackfillSpec, String> {
    let Backfill {
        transforms,
        outputs,
        start,
    } = backfill;
    Ok(BackfillSpec {
        chain: chain(transforms)?,
        outputs: topics(&outputs)?,
        start: text_or_default(start.as_deref())?,
    })
}

fn backfill_of(backfill: &BackfillSpec) -> Backfill {
    let BackfillSpec {
        chain,
        outputs,
        start,
    } = backfill;
    Backfill {
        transforms: steps_of(chain),
        outputs: outputs.iter().map(ToString::to_string).collect(),
        start: (*start != StartPosition::default()).then(|| start.to_string()),
    }
}

fn topics(names: &[String]) -> Result<Vec<TopicName>, String> {
    let name = |name: &String| name.parse().map_err(|error| format!("{error}"));
    names.iter().map(name).collect()
}

fn text_or_default<T>(text: Option<&str>) -> Result<T, String>
where
    T: Default + std::str::FromStr<Err: std::fmt::Display>,
{
    match text {
        None => Ok(T::default()),
        Some(text) => text.parse().map_err(|error| format!("{error}")),
    }
}

/// What stands for a default is left out, as its author most likely did.
pub(super) fn spec_of(spec: &TransformSpec) -> ObjectSpec {
    let TransformSpec {
        inputs,
        outputs,
        chain,
        start,
        partitioning,
        compression,
        dedup,
        tables,
        capabilities,
        canary,
        backfill,
        paused,
    } = spec;
    ObjectSpec {
        inputs: inputs.iter().map(ToString::to_string).collect(),
        outputs: outputs.iter().map(ToString::to_string).collect(),
        transforms: steps_of(chain),
        start: (*start != StartPosition::default()).then(|| start.to_string()),
        partitioning: (*partitioning != OutputPartitioning::default())
            .then(|| partitioning.to_string()),
        compression: (*compression != CompressionPolicy::Uncompressed)
            .then(|| compression.name().to_owned()),
        dedup: dedup.map(look_back_of),
        tables: tables.iter().map(ToString::to_string).collect(),
        capabilities: (!capabilities.is_empty()).then(|| capabilities_of(capabilities)),
        canary: canary.as_ref().map(canary_of),
        backfill: backfill.as_ref().map(backfill_of),
        paused: *paused,
    }
}

pub(super) fn status_of(row: &Transform, stamp: Stamp<'_>) -> ObjectStatus {
    let TransformStatus {
        state,
        reason,
        history,
    } = &row.status;
    let (text, word) = match state {
        TransformState::Pending => (PENDING, "CannotRun"),
        TransformState::Running => (RUNNING, "Running"),
        TransformState::Paused => (PAUSED, "Paused"),
    };
    ObjectStatus {
        // Numbers are far below what 63 bits hold.
        number: i64::try_from(row.number.0).ok(),
        backfill: backfill_number_of(row),
        state: text.to_owned(),
        reason: reason.clone(),
        history: history_of(history),
        observed_generation: stamp.generation,
        conditions: stamp.conditions(Verdict {
            is_true: *state == TransformState::Running,
            reason: word,
            message: reason.clone(),
        }),
    }
}

fn backfill_number_of(row: &Transform) -> Option<BackfillNumber> {
    let outputs = row.spec.backfill.as_ref()?.outputs.iter();
    Some(BackfillNumber {
        number: i64::try_from(row.backfill_number?.0).ok()?,
        outputs: outputs.map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use thalweg_types::resource::{RevisionSpec, TransformRevision};
    use thalweg_types::{Capabilities, HttpCapability, LookBack};

    use super::super::{Kept, to_value};
    use super::*;

    fn object(more: &Value) -> DynamicObject {
        let mut object = json!({
            "apiVersion": "thalweg.dev/v1alpha1",
            "kind": "Transform",
            "metadata": {"name": "late-flights", "uid": "a", "resourceVersion": "5", "generation": 2},
            "spec": {
                "inputs": ["flights"],
                "outputs": ["late"],
                "transforms": [{"uses": "late@1.2.0", "with": {"minutes": "60"}, "onError": "skip"}],
            },
        });
        for (field, value) in more.as_object().unwrap() {
            object[field] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn row(object: &DynamicObject) -> Transform {
        match read(object).unwrap() {
            Reading::Row(thalweg_types::resource::Resource::Transform(row)) => *row,
            other => panic!("{other:?} is no transform"),
        }
    }

    #[test]
    fn an_object_without_a_number_waits_for_one() {
        assert_eq!(read(&object(&json!({}))), Ok(Reading::Unadopted));
        let refused = json!({"status": {"conditions": []}});
        assert_eq!(read(&object(&refused)), Ok(Reading::Unadopted));
    }

    #[test]
    fn rows_survive_the_way_to_objects_and_back() {
        let status = json!({"status": {"number": 12, "state": "Running"}});
        let plain = row(&object(&status));
        assert_eq!(plain.number, TransformNumber(12));
        assert_eq!(plain.status.state, TransformState::Running);
        let rare = Transform {
            backfill_number: Some(TransformNumber(13)),
            spec: TransformSpec {
                start: StartPosition::End,
                partitioning: OutputPartitioning::Preserve,
                compression: CompressionPolicy::Producer,
                dedup: Some(LookBack {
                    last: None,
                    age_ms: Some(60_000),
                }),
                tables: vec!["airlines".parse().unwrap()],
                capabilities: Capabilities {
                    http: Some(HttpCapability {
                        retries: 0,
                        ..HttpCapability::to(vec!["http://127.0.0.1:8080".parse().unwrap()])
                    }),
                    key_value: true,
                    secrets: vec!["api-token".parse().unwrap()],
                },
                backfill: Some(BackfillSpec {
                    chain: plain.spec.chain.clone(),
                    outputs: vec!["later".parse().unwrap()],
                    start: StartPosition::End,
                }),
                canary: Some(CanarySpec {
                    percent: 25,
                    chain: plain.spec.chain.clone(),
                }),
                paused: true,
                ..plain.spec.clone()
            },
            status: TransformStatus {
                state: TransformState::Pending,
                reason: "topic `late` is missing".to_owned(),
                history: vec![TransformRevision {
                    revision: 2,
                    at_ms: 1_700_000_000_000,
                    runs: RevisionSpec::of(&plain.spec, plain.spec.chain.clone()),
                }],
            },
            ..plain.clone()
        };

        for row_before in [plain, rare] {
            let kept = Kept::default();
            let stamp = Stamp {
                generation: 2,
                before: &kept,
                now_ms: 0,
            };
            let object = object(&json!({
                "spec": to_value(&spec_of(&row_before.spec)),
                "status": to_value(&status_of(&row_before, stamp)),
            }));

            assert_eq!(row(&object), row_before);
        }
    }

    #[test]
    fn a_backfill_takes_the_transforms_place_by_its_spec_alone() {
        let status = json!({
            "number": 12,
            "backfill": {"outputs": ["later"], "number": 13},
            "state": "Running",
        });
        let with = |outputs: &str, backfill: Option<&str>| {
            let mut object = object(&json!({ "status": status }));
            object.data["spec"]["outputs"] = json!([outputs]);
            if let Some(outputs) = backfill {
                let transforms = object.data["spec"]["transforms"].clone();
                object.data["spec"]["backfill"] =
                    json!({"transforms": transforms, "outputs": [outputs]});
            }
            let row = row(&object);
            (row.number.0, row.backfill_number.map(|number| number.0))
        };

        assert_eq!(with("late", Some("later")), (12, Some(13)));
        assert_eq!(with("later", None), (13, None), "switched");
        assert_eq!(with("late", None), (12, None), "aborted");
        assert_eq!(with("late", Some("latest")), (12, None), "another one");
        assert_eq!(with("later", Some("latest")), (13, None), "and the next");
    }

    #[test]
    fn defaults_are_not_written_into_what_its_author_wrote() {
        let status = json!({"status": {"number": 12}});
        let object = object(&status);

        let spec = to_value(&spec_of(&row(&object).spec));

        assert_eq!(spec, object.data["spec"]);
    }
}
