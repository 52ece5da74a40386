//! Transforms.

use thalweg_types::resource::{
    BackfillSpec, CanarySpec, ResourceVersion, Transform, TransformNumber, TransformRevision,
    TransformSpec, TransformState, TransformStatus,
};
use thalweg_types::{CompressionPolicy, TopicName};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::Transform> for Transform {
    type Error = InvalidField;

    fn try_from(message: v1::Transform) -> Result<Self, InvalidField> {
        let v1::Transform {
            name,
            number,
            spec,
            status,
            version,
            backfill_number,
        } = message;
        Ok(Self {
            name: parse("name", &name)?,
            number: transform_number("number", number)?,
            backfill_number: backfill_number
                .map(|number| transform_number("backfill_number", number))
                .transpose()?,
            spec: required("spec", spec)?
                .try_into()
                .map_err(|error: InvalidField| error.under("spec"))?,
            status: required("status", status)?
                .try_into()
                .map_err(|error: InvalidField| error.under("status"))?,
            version: ResourceVersion(version),
        })
    }
}

impl From<Transform> for v1::Transform {
    fn from(transform: Transform) -> Self {
        let Transform {
            name,
            number,
            backfill_number,
            spec,
            status,
            version,
        } = transform;
        Self {
            name: name.to_string(),
            number: number.0,
            spec: Some(spec.into()),
            status: Some(status.into()),
            version: version.0,
            backfill_number: backfill_number.map(|number| number.0),
        }
    }
}

/// A number that a transform can have: producers' ids are made of it.
pub(super) fn transform_number(field: &str, number: u64) -> Result<TransformNumber, InvalidField> {
    let number = TransformNumber(number);
    if number > TransformNumber::MAX {
        return Err(InvalidField::new(
            field,
            format!(
                "{number} is more than a transform's number may be ({})",
                TransformNumber::MAX
            ),
        ));
    }
    Ok(number)
}

impl TryFrom<v1::TransformSpec> for TransformSpec {
    type Error = InvalidField;

    fn try_from(message: v1::TransformSpec) -> Result<Self, InvalidField> {
        let v1::TransformSpec {
            inputs,
            outputs,
            chain,
            start,
            partitioning,
            compression,
            paused,
            dedup,
            tables,
            capabilities,
            canary,
            backfill,
        } = message;
        Ok(Self {
            inputs: topics("inputs", &inputs)?,
            outputs: topics("outputs", &outputs)?,
            chain: chain
                .unwrap_or_default()
                .try_into()
                .map_err(|error: InvalidField| error.under("chain"))?,
            start: text_or_default("start", &start)?,
            partitioning: text_or_default("partitioning", &partitioning)?,
            compression: compression_policy(&compression)?,
            dedup: dedup.map(Into::into),
            tables: topics("tables", &tables)?,
            capabilities: capabilities
                .unwrap_or_default()
                .try_into()
                .map_err(|error: InvalidField| error.under("capabilities"))?,
            canary: canary
                .map(CanarySpec::try_from)
                .transpose()
                .map_err(|error| error.under("canary"))?,
            backfill: backfill
                .map(BackfillSpec::try_from)
                .transpose()
                .map_err(|error| error.under("backfill"))?,
            paused,
        })
    }
}

impl From<TransformSpec> for v1::TransformSpec {
    fn from(spec: TransformSpec) -> Self {
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
        Self {
            inputs: inputs.iter().map(ToString::to_string).collect(),
            outputs: outputs.iter().map(ToString::to_string).collect(),
            chain: Some(chain.into()),
            start: start.to_string(),
            partitioning: partitioning.to_string(),
            compression: compression.name().to_owned(),
            paused,
            dedup: dedup.map(Into::into),
            tables: tables.iter().map(ToString::to_string).collect(),
            capabilities: (!capabilities.is_empty()).then(|| capabilities.into()),
            canary: canary.map(Into::into),
            backfill: backfill.map(Into::into),
        }
    }
}

impl TryFrom<v1::BackfillSpec> for BackfillSpec {
    type Error = InvalidField;

    fn try_from(message: v1::BackfillSpec) -> Result<Self, InvalidField> {
        let v1::BackfillSpec {
            chain,
            outputs,
            start,
        } = message;
        Ok(Self {
            chain: chain
                .unwrap_or_default()
                .try_into()
                .map_err(|error: InvalidField| error.under("chain"))?,
            outputs: topics("outputs", &outputs)?,
            start: text_or_default("start", &start)?,
        })
    }
}

impl From<BackfillSpec> for v1::BackfillSpec {
    fn from(backfill: BackfillSpec) -> Self {
        let BackfillSpec {
            chain,
            outputs,
            start,
        } = backfill;
        Self {
            chain: Some(chain.into()),
            outputs: outputs.iter().map(ToString::to_string).collect(),
            start: start.to_string(),
        }
    }
}

impl TryFrom<v1::CanarySpec> for CanarySpec {
    type Error = InvalidField;

    fn try_from(message: v1::CanarySpec) -> Result<Self, InvalidField> {
        let v1::CanarySpec { percent, chain } = message;
        Ok(Self {
            percent: u8::try_from(percent)
                .map_err(|_| InvalidField::new("percent", format!("{percent} is no percentage")))?,
            chain: chain
                .unwrap_or_default()
                .try_into()
                .map_err(|error: InvalidField| error.under("chain"))?,
        })
    }
}

impl From<CanarySpec> for v1::CanarySpec {
    fn from(canary: CanarySpec) -> Self {
        let CanarySpec { percent, chain } = canary;
        Self {
            percent: percent.into(),
            chain: Some(chain.into()),
        }
    }
}

pub(super) fn topics(field: &str, names: &[String]) -> Result<Vec<TopicName>, InvalidField> {
    let one = |(index, name): (usize, &String)| parse(&format!("{field}[{index}]"), name);
    names.iter().enumerate().map(one).collect()
}

pub(super) fn text_or_default<T>(field: &str, text: &str) -> Result<T, InvalidField>
where
    T: Default + std::str::FromStr<Err: std::fmt::Display>,
{
    if text.is_empty() {
        return Ok(T::default());
    }
    parse(field, text)
}

pub(super) fn compression_policy(name: &str) -> Result<CompressionPolicy, InvalidField> {
    if name.is_empty() {
        return Ok(CompressionPolicy::Uncompressed);
    }
    CompressionPolicy::of_name(name).ok_or_else(|| {
        InvalidField::new(
            "compression",
            format!(
                "`{name}` is no compression: write `producer`, `uncompressed`, `gzip`, `snappy`, `lz4` or `zstd`"
            ),
        )
    })
}

impl TryFrom<v1::TransformStatus> for TransformStatus {
    type Error = InvalidField;

    fn try_from(message: v1::TransformStatus) -> Result<Self, InvalidField> {
        let state = match message.state() {
            v1::TransformState::Pending => TransformState::Pending,
            v1::TransformState::Running => TransformState::Running,
            v1::TransformState::Paused => TransformState::Paused,
            v1::TransformState::Unspecified => return Err(InvalidField::missing("state")),
        };
        let v1::TransformStatus {
            state: _,
            reason,
            history,
        } = message;
        let history = history.into_iter().enumerate().map(|(index, revision)| {
            let revision = TransformRevision::try_from(revision);
            revision.map_err(|error| error.under(&format!("history[{index}]")))
        });
        Ok(Self {
            state,
            reason,
            history: history.collect::<Result<_, _>>()?,
        })
    }
}

impl From<TransformStatus> for v1::TransformStatus {
    fn from(status: TransformStatus) -> Self {
        let TransformStatus {
            state,
            reason,
            history,
        } = status;
        let state = match state {
            TransformState::Pending => v1::TransformState::Pending,
            TransformState::Running => v1::TransformState::Running,
            TransformState::Paused => v1::TransformState::Paused,
        };
        Self {
            state: state.into(),
            reason,
            history: history.into_iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{OutputPartitioning, RevisionSpec, StartPosition};
    use thalweg_types::{Capabilities, ChainSpec, HttpCapability, LookBack, OnError, StepSpec};

    use super::*;

    fn transform() -> Transform {
        Transform {
            name: "late-flights".parse().unwrap(),
            number: TransformNumber(7),
            backfill_number: Some(TransformNumber(9)),
            spec: TransformSpec {
                inputs: vec!["flights".parse().unwrap(), "trains".parse().unwrap()],
                outputs: vec!["late".parse().unwrap()],
                chain: ChainSpec {
                    steps: vec![StepSpec {
                        uses: "late@1.2.0".parse().unwrap(),
                        with: [("minutes".to_owned(), "60".to_owned())].into(),
                        look_back: None,
                        on_error: OnError::Skip,
                        aggregate: None,
                    }],
                },
                start: StartPosition::TimestampMs(1_700_000_000_000),
                partitioning: OutputPartitioning::Preserve,
                compression: CompressionPolicy::Producer,
                dedup: Some(LookBack {
                    last: Some(1_000),
                    age_ms: None,
                }),
                tables: vec!["airlines".parse().unwrap(), "airports".parse().unwrap()],
                capabilities: Capabilities {
                    http: Some(HttpCapability {
                        allow: vec!["https://api.example.com".parse().unwrap()],
                        timeout_ms: 100,
                        concurrency: 1,
                        retries: 0,
                    }),
                    key_value: true,
                    secrets: vec!["api-token".parse().unwrap()],
                },
                backfill: Some(BackfillSpec {
                    chain: ChainSpec::default(),
                    outputs: vec!["later".parse().unwrap()],
                    start: StartPosition::End,
                }),
                canary: Some(CanarySpec {
                    percent: 25,
                    chain: ChainSpec {
                        steps: vec![StepSpec {
                            uses: "late@1.3.0".parse().unwrap(),
                            with: std::collections::BTreeMap::new(),
                            look_back: None,
                            on_error: OnError::Stop,
                            aggregate: None,
                        }],
                    },
                }),
                paused: true,
            },
            status: TransformStatus {
                state: TransformState::Pending,
                reason: "topic `late` is missing".to_owned(),
                history: vec![TransformRevision {
                    revision: 3,
                    at_ms: 1_700_000_000_000,
                    runs: RevisionSpec {
                        chain: ChainSpec::default(),
                        partitioning: OutputPartitioning::Preserve,
                        compression: CompressionPolicy::Zstd,
                        dedup: Some(LookBack::default()),
                        tables: vec!["airlines".parse().unwrap()],
                        capabilities: Capabilities {
                            key_value: true,
                            ..Capabilities::default()
                        },
                    },
                }],
            },
            version: ResourceVersion(3),
        }
    }

    #[test]
    fn transforms_survive_the_way_there_and_back() {
        let there = v1::Transform::from(transform());

        assert_eq!(Transform::try_from(there), Ok(transform()));
    }

    #[test]
    fn what_is_left_out_is_the_default() {
        let message = v1::TransformSpec {
            inputs: vec!["flights".to_owned()],
            outputs: vec!["late".to_owned()],
            ..v1::TransformSpec::default()
        };

        let spec = TransformSpec::try_from(message).unwrap();

        assert_eq!(spec.start, StartPosition::Beginning);
        assert_eq!(spec.partitioning, OutputPartitioning::Key);
        assert_eq!(spec.compression, CompressionPolicy::Uncompressed);
        assert_eq!(spec.dedup, None);
        assert_eq!(spec.tables, []);
        assert!(spec.capabilities.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path() {
        let mut message = v1::Transform::from(transform());
        message.spec.as_mut().unwrap().inputs[1] = "a b".to_owned();
        let error = Transform::try_from(message).unwrap_err();
        assert_eq!(error.path, "spec.inputs[1]");

        let mut message = v1::Transform::from(transform());
        message.spec.as_mut().unwrap().tables[1] = String::new();
        let error = Transform::try_from(message).unwrap_err();
        assert_eq!(error.path, "spec.tables[1]");

        let mut message = v1::Transform::from(transform());
        let capabilities = message.spec.as_mut().unwrap().capabilities.as_mut();
        capabilities.unwrap().secrets[0] = "..".to_owned();
        let error = Transform::try_from(message).unwrap_err();
        assert_eq!(error.path, "spec.capabilities.secrets[0]");

        let mut message = v1::Transform::from(transform());
        let canary = message.spec.as_mut().unwrap().canary.as_mut();
        canary.unwrap().percent = 256;
        let error = Transform::try_from(message).unwrap_err();
        assert_eq!(error.path, "spec.canary.percent");

        let mut message = v1::Transform::from(transform());
        message.spec.as_mut().unwrap().compression = "rar".to_owned();
        let error = Transform::try_from(message).unwrap_err();
        assert_eq!(error.path, "spec.compression");

        let mut message = v1::Transform::from(transform());
        message.number = TransformNumber::MAX.0 + 1;
        assert_eq!(Transform::try_from(message).unwrap_err().path, "number");
    }
}
