//! The value of a group of the classic protocol: versions 0 to 3 are read, 3 is written.

use bytes::Bytes;

use super::RecordError;
use super::fields::{Reader, Writer};

const VERSION: i16 = 3;

/// A group as it is stored: always at rest, stable or empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::groups) struct StoredGroup {
    pub(in crate::groups) protocol_type: String,
    pub(in crate::groups) generation: i32,
    pub(in crate::groups) protocol: Option<String>,
    pub(in crate::groups) leader: Option<String>,
    /// Since when it is in this state; absent where that was not written.
    pub(in crate::groups) state_since_ms: Option<i64>,
    pub(in crate::groups) members: Vec<StoredMember>,
}

/// A member as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::groups) struct StoredMember {
    pub(in crate::groups) member_id: String,
    pub(in crate::groups) instance_id: Option<String>,
    pub(in crate::groups) client_id: String,
    pub(in crate::groups) client_host: String,
    pub(in crate::groups) rebalance_timeout_ms: i32,
    pub(in crate::groups) session_timeout_ms: i32,
    /// For the group's protocol.
    pub(in crate::groups) subscription: Bytes,
    pub(in crate::groups) assignment: Bytes,
}

pub(super) fn write(group: &StoredGroup) -> Vec<u8> {
    let mut value = Writer::default();
    value.i16(VERSION);
    value.text(&group.protocol_type);
    value.i32(group.generation);
    value.nullable_text(group.protocol.as_deref());
    value.nullable_text(group.leader.as_deref());
    value.i64(group.state_since_ms.unwrap_or(-1));
    value.i32(i32::try_from(group.members.len()).expect("a group has a bound"));
    for member in &group.members {
        value.text(&member.member_id);
        value.nullable_text(member.instance_id.as_deref());
        value.text(&member.client_id);
        value.text(&member.client_host);
        value.i32(member.rebalance_timeout_ms);
        value.i32(member.session_timeout_ms);
        value.bytes(&member.subscription);
        value.bytes(&member.assignment);
    }
    value.into_bytes()
}

pub(super) fn read(value: &[u8]) -> Result<StoredGroup, RecordError> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if version > VERSION {
        return Err(RecordError::NewerVersion {
            found: version,
            known: VERSION,
        });
    }
    let protocol_type = value.text()?.to_owned();
    let generation = value.i32()?;
    let protocol = value.nullable_text()?.map(str::to_owned);
    let leader = value.nullable_text()?.map(str::to_owned);
    let state_since_ms = if version >= 2 {
        Some(value.i64()?).filter(|since| *since >= 0)
    } else {
        None
    };
    let count = value.count()?;
    let members = (0..count)
        .map(|_| read_member(&mut value, version))
        .collect::<Result<_, _>>()?;
    Ok(StoredGroup {
        protocol_type,
        generation,
        protocol,
        leader,
        state_since_ms,
        members,
    })
}

fn read_member(value: &mut Reader<'_>, version: i16) -> Result<StoredMember, RecordError> {
    let member_id = value.text()?.to_owned();
    let instance_id = if version >= 3 {
        value.nullable_text()?.map(str::to_owned)
    } else {
        None
    };
    let client_id = value.text()?.to_owned();
    let client_host = value.text()?.to_owned();
    let rebalance_timeout_ms = if version >= 1 {
        Some(value.i32()?)
    } else {
        None
    };
    let session_timeout_ms = value.i32()?;
    Ok(StoredMember {
        member_id,
        instance_id,
        client_id,
        client_host,
        // Before version 1 there was one timeout for both.
        rebalance_timeout_ms: rebalance_timeout_ms.unwrap_or(session_timeout_ms),
        session_timeout_ms,
        subscription: Bytes::copy_from_slice(value.bytes()?),
        assignment: Bytes::copy_from_slice(value.bytes()?),
    })
}
