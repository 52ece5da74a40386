//! SPUs.

use kube::core::DynamicObject;
use thalweg_k8s_crd::{
    Spu as Object, SpuSpec as ObjectSpec, SpuStatus as ObjectStatus, Verdict, spu_object_name,
};
use thalweg_types::resource::{Spu, SpuSpec, SpuState, SpuStatus};
use thalweg_types::{Incarnation, SpuId};

use super::{Reading, Stamp, Unreadable, typed, unreadable};

pub(super) fn read(object: &DynamicObject) -> Result<Reading, Unreadable> {
    let (typed, version): (Object, _) = typed(object)?;
    let Some(status) = typed.status else {
        return Ok(Reading::Nothing);
    };
    let state = STATES.iter().find(|(_, word)| *word == status.state);
    let (state, _) =
        state.ok_or_else(|| unreadable(object, format!("state `{}`", status.state)))?;
    let row = Spu {
        id: SpuId(typed.spec.id),
        spec: SpuSpec {
            rack: typed.spec.rack,
            draining: typed.spec.draining,
            leaving: object.metadata.deletion_timestamp.is_some(),
        },
        status: SpuStatus {
            state: *state,
            data_address: status.data_address,
            incarnation: Incarnation(u64::try_from(status.incarnation).unwrap_or_default()),
            directory_id: status
                .directory_id
                .parse()
                .map_err(|error| unreadable(object, error))?,
            software_version: status.software_version,
        },
        version,
    };
    let expected = spu_object_name(row.id);
    // Nobody makes one by hand, and one under another name stands for nothing.
    let is_named = object.metadata.name.as_deref() == Some(&expected);
    Ok(if is_named {
        Reading::Row(row.into())
    } else {
        Reading::Nothing
    })
}

const STATES: [(SpuState, &str); 3] = [
    (SpuState::Online, "Online"),
    (SpuState::Stopping, "Stopping"),
    (SpuState::Offline, "Offline"),
];

pub(super) fn spec_of(row: &Spu) -> ObjectSpec {
    ObjectSpec {
        id: row.id.0,
        rack: row.spec.rack.clone(),
        draining: row.spec.draining,
    }
}

pub(super) fn status_of(row: &Spu, stamp: Stamp<'_>) -> ObjectStatus {
    let status = &row.status;
    let (state, message) = match status.state {
        SpuState::Online => ("Online", ""),
        SpuState::Stopping => ("Stopping", "it has said that it is about to stop"),
        SpuState::Offline => ("Offline", "it said goodbye, or went silent"),
    };
    ObjectStatus {
        state: state.to_owned(),
        data_address: status.data_address.clone(),
        incarnation: i64::try_from(status.incarnation.0).unwrap_or(i64::MAX),
        directory_id: status.directory_id.to_string(),
        software_version: status.software_version.clone(),
        observed_generation: stamp.generation,
        conditions: stamp.conditions(Verdict {
            is_true: status.state == SpuState::Online,
            reason: state,
            message: message.to_owned(),
        }),
    }
}
