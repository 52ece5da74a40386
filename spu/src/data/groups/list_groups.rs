//! ListGroups: the groups that this SPU coordinates.

use thalweg_wire::StrBytes;
use thalweg_wire::messages::list_groups_response::ListedGroup;
use thalweg_wire::messages::{GroupId, ListGroupsRequest, ListGroupsResponse};

use super::super::connection::Shared;
use super::{code, text};
use crate::groups::GroupListing;

const HAS_STATE: i16 = 4;
const HAS_TYPE: i16 = 5;

pub(super) async fn answer(
    shared: &Shared,
    request: ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let (listed, outcome) = shared.context.groups.ask_all(|groups| groups.list()).await;
    let groups = listed
        .into_iter()
        .flatten()
        .filter(|group| {
            fits(&request.states_filter, group.state) && fits(&request.types_filter, group.kind)
        })
        .map(|group| tell(&group, version))
        .collect();
    ListGroupsResponse::default()
        .with_error_code(code(outcome))
        .with_groups(groups)
}

/// Whether a filter lets something through; one that names nothing lets through all.
fn fits(filter: &[StrBytes], value: &str) -> bool {
    filter.is_empty()
        || filter
            .iter()
            .any(|wanted| wanted.eq_ignore_ascii_case(value))
}

fn tell(group: &GroupListing, version: i16) -> ListedGroup {
    let mut told = ListedGroup::default()
        .with_group_id(GroupId(text(&group.group)))
        .with_protocol_type(text(&group.protocol_type));
    if version >= HAS_STATE {
        told = told.with_group_state(text(group.state));
    }
    if version >= HAS_TYPE {
        told = told.with_group_type(text(group.kind));
    }
    told
}
