//! Topics.

use thalweg_types::SpuId;
use thalweg_types::TopicConfig;
use thalweg_types::resource::{
    ReplicaPlacement, ResourceVersion, Topic, TopicSpec, TopicState, TopicStatus,
};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::Topic> for Topic {
    type Error = InvalidField;

    fn try_from(message: v1::Topic) -> Result<Self, InvalidField> {
        let v1::Topic {
            name,
            topic_id,
            spec,
            status,
            version,
        } = message;
        Ok(Self {
            name: parse("name", &name)?,
            id: parse("topic_id", &topic_id)?,
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

impl From<Topic> for v1::Topic {
    fn from(topic: Topic) -> Self {
        let Topic {
            name,
            id,
            spec,
            status,
            version,
        } = topic;
        Self {
            name: name.to_string(),
            topic_id: id.to_string(),
            spec: Some(spec.into()),
            status: Some(status.into()),
            version: version.0,
        }
    }
}

impl TryFrom<v1::TopicSpec> for TopicSpec {
    type Error = InvalidField;

    fn try_from(message: v1::TopicSpec) -> Result<Self, InvalidField> {
        let v1::TopicSpec {
            placement,
            config,
            produce_chain,
        } = message;
        let mut settings = TopicConfig::default();
        for (name, value) in &config {
            settings
                .set(name, value)
                .map_err(|error| InvalidField::new(format!("config.{name}"), error))?;
        }
        Ok(Self {
            placement: required("placement", placement)?.into(),
            config: settings,
            produce_chain: produce_chain
                .unwrap_or_default()
                .try_into()
                .map_err(|error: InvalidField| error.under("produce_chain"))?,
        })
    }
}

impl From<TopicSpec> for v1::TopicSpec {
    fn from(spec: TopicSpec) -> Self {
        let TopicSpec {
            placement,
            config,
            produce_chain,
        } = spec;
        Self {
            placement: Some(placement.into()),
            config: config
                .overrides()
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            produce_chain: (!produce_chain.is_empty()).then(|| produce_chain.into()),
        }
    }
}

impl From<v1::topic_spec::Placement> for ReplicaPlacement {
    fn from(message: v1::topic_spec::Placement) -> Self {
        match message {
            v1::topic_spec::Placement::Computed(v1::ComputedPlacement {
                partitions,
                replication_factor,
            }) => Self::Computed {
                partitions,
                replication_factor,
            },
            v1::topic_spec::Placement::Assigned(v1::AssignedPlacement { partitions }) => {
                Self::Assigned(partitions.into_iter().map(Into::into).collect())
            }
        }
    }
}

impl From<ReplicaPlacement> for v1::topic_spec::Placement {
    fn from(placement: ReplicaPlacement) -> Self {
        match placement {
            ReplicaPlacement::Computed {
                partitions,
                replication_factor,
            } => Self::Computed(v1::ComputedPlacement {
                partitions,
                replication_factor,
            }),
            ReplicaPlacement::Assigned(partitions) => Self::Assigned(v1::AssignedPlacement {
                partitions: partitions.into_iter().map(Into::into).collect(),
            }),
        }
    }
}

impl From<v1::ReplicaList> for Vec<SpuId> {
    fn from(message: v1::ReplicaList) -> Self {
        let v1::ReplicaList { spus } = message;
        spus.into_iter().map(SpuId).collect()
    }
}

impl From<Vec<SpuId>> for v1::ReplicaList {
    fn from(spus: Vec<SpuId>) -> Self {
        Self {
            spus: spus.into_iter().map(|spu| spu.0).collect(),
        }
    }
}

impl TryFrom<v1::TopicStatus> for TopicStatus {
    type Error = InvalidField;

    fn try_from(message: v1::TopicStatus) -> Result<Self, InvalidField> {
        let state = match message.state() {
            v1::TopicState::Pending => TopicState::Pending,
            v1::TopicState::Provisioned => TopicState::Provisioned,
            v1::TopicState::Deleting => TopicState::Deleting,
            v1::TopicState::Unspecified => return Err(InvalidField::missing("state")),
        };
        let v1::TopicStatus { state: _, reason } = message;
        Ok(Self { state, reason })
    }
}

impl From<TopicStatus> for v1::TopicStatus {
    fn from(status: TopicStatus) -> Self {
        let TopicStatus { state, reason } = status;
        let state = match state {
            TopicState::Pending => v1::TopicState::Pending,
            TopicState::Provisioned => v1::TopicState::Provisioned,
            TopicState::Deleting => v1::TopicState::Deleting,
        };
        Self {
            state: state.into(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{AggregateSpec, ChainSpec, LookBack, StepSpec};

    use super::*;

    #[test]
    fn a_setting_that_is_not_allowed_is_named_with_its_path() {
        let spec = v1::TopicSpec {
            placement: Some(v1::topic_spec::Placement::Computed(v1::ComputedPlacement {
                partitions: 1,
                replication_factor: 1,
            })),
            config: [("retention.ms".to_owned(), "soon".to_owned())].into(),
            produce_chain: None,
        };

        let error = TopicSpec::try_from(spec).unwrap_err();

        assert_eq!(error.path, "config.retention.ms");
    }

    #[test]
    fn topics_survive_the_way_there_and_back() {
        let mut config = TopicConfig::default();
        config.set("durability", "memory").unwrap();
        let topic = Topic {
            name: "flights".parse().unwrap(),
            id: "5f64ae2b-5a3c-4d3b-9d4e-31f4a3e9b1aa".parse().unwrap(),
            spec: TopicSpec {
                placement: ReplicaPlacement::Assigned(vec![vec![SpuId(1), SpuId(2)]]),
                config,
                produce_chain: ChainSpec {
                    steps: vec![StepSpec {
                        uses: "late@1.2.0".parse().unwrap(),
                        with: [("minutes".to_owned(), "60".to_owned())].into(),
                        look_back: Some(LookBack {
                            last: Some(10),
                            age_ms: None,
                        }),
                        on_error: "dead_letter:failed".parse().unwrap(),
                        aggregate: Some(AggregateSpec {
                            initial: "100".to_owned(),
                            by_key: true,
                            window: None,
                        }),
                    }],
                },
            },
            status: TopicStatus {
                state: TopicState::Pending,
                reason: "no SPU".to_owned(),
            },
            version: ResourceVersion(7),
        };

        let there = v1::Topic::from(topic.clone());

        assert_eq!(Topic::try_from(there), Ok(topic));
    }
}
