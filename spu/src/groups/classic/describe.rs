//! What people are told of a group.

use super::{ClassicGroup, GroupState};
use crate::groups::state::{Described, DescribedMember};

impl ClassicGroup {
    pub(in crate::groups) fn describe(&self) -> Described {
        let protocol = self
            .protocol
            .as_deref()
            .filter(|_| self.state == GroupState::Stable);
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member_id: id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            // While it is being agreed on there is none to speak of.
            metadata: member.metadata(protocol),
            assignment: if protocol.is_some() {
                member.assignment.clone()
            } else {
                bytes::Bytes::new()
            },
        });
        Described {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.unwrap_or_default().to_owned(),
            members: members.collect(),
        }
    }
}
