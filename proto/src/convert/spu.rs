//! SPUs.

use thalweg_types::resource::{ResourceVersion, Spu, SpuSpec, SpuState, SpuStatus};
use thalweg_types::{Incarnation, SpuId};

use super::field::{InvalidField, parse, required};
use crate::v1;

impl TryFrom<v1::Spu> for Spu {
    type Error = InvalidField;

    fn try_from(message: v1::Spu) -> Result<Self, InvalidField> {
        let v1::Spu {
            id,
            spec,
            status,
            version,
        } = message;
        Ok(Self {
            id: SpuId(id),
            spec: spec.unwrap_or_default().into(),
            status: required("status", status)?
                .try_into()
                .map_err(|error: InvalidField| error.under("status"))?,
            version: ResourceVersion(version),
        })
    }
}

impl From<Spu> for v1::Spu {
    fn from(spu: Spu) -> Self {
        let Spu {
            id,
            spec,
            status,
            version,
        } = spu;
        Self {
            id: id.0,
            spec: Some(spec.into()),
            status: Some(status.into()),
            version: version.0,
        }
    }
}

impl From<v1::SpuSpec> for SpuSpec {
    fn from(message: v1::SpuSpec) -> Self {
        let v1::SpuSpec { rack, draining } = message;
        Self {
            draining,
            rack: Some(rack).filter(|rack| !rack.is_empty()),
            // The SC's own business.
            leaving: false,
        }
    }
}

impl From<SpuSpec> for v1::SpuSpec {
    fn from(spec: SpuSpec) -> Self {
        let SpuSpec {
            rack,
            draining,
            leaving: _,
        } = spec;
        Self {
            draining,
            rack: rack.unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::SpuStatus> for SpuStatus {
    type Error = InvalidField;

    fn try_from(message: v1::SpuStatus) -> Result<Self, InvalidField> {
        let state = match message.state() {
            v1::SpuState::Online => SpuState::Online,
            v1::SpuState::Stopping => SpuState::Stopping,
            v1::SpuState::Offline => SpuState::Offline,
            v1::SpuState::Unspecified => return Err(InvalidField::missing("state")),
        };
        let v1::SpuStatus {
            state: _,
            data_address,
            incarnation,
            directory_id,
            software_version,
        } = message;
        Ok(Self {
            state,
            data_address,
            incarnation: Incarnation(incarnation),
            directory_id: parse("directory_id", &directory_id)?,
            software_version,
        })
    }
}

impl From<SpuStatus> for v1::SpuStatus {
    fn from(status: SpuStatus) -> Self {
        let SpuStatus {
            state,
            data_address,
            incarnation,
            directory_id,
            software_version,
        } = status;
        let state = match state {
            SpuState::Online => v1::SpuState::Online,
            SpuState::Stopping => v1::SpuState::Stopping,
            SpuState::Offline => v1::SpuState::Offline,
        };
        Self {
            state: state.into(),
            data_address,
            incarnation: incarnation.0,
            directory_id: directory_id.to_string(),
            software_version,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spus_survive_the_way_there_and_back_with_and_without_a_rack() {
        for (rack, state) in [
            (None, SpuState::Offline),
            (Some("r1".to_owned()), SpuState::Stopping),
        ] {
            let spu = Spu {
                id: SpuId(3),
                spec: SpuSpec {
                    draining: rack.is_some(),
                    rack,
                    leaving: false,
                },
                status: SpuStatus {
                    state,
                    data_address: "127.0.0.1:9092".to_owned(),
                    incarnation: Incarnation(8),
                    directory_id: "5f64ae2b-5a3c-4d3b-9d4e-31f4a3e9b1aa".parse().unwrap(),
                    software_version: "0.1.0".to_owned(),
                },
                version: ResourceVersion(2),
            };

            let there = v1::Spu::from(spu.clone());

            assert_eq!(Spu::try_from(there), Ok(spu));
        }
    }
}
