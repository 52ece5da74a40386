//! DeleteGroups: groups that nobody is in are forgotten with their offsets.

use thalweg_wire::messages::delete_groups_response::DeletableGroupResult;
use thalweg_wire::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::super::connection::Shared;
use super::{call, code};

pub(super) async fn answer(
    shared: &Shared,
    request: DeleteGroupsRequest,
    _version: i16,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for name in request.groups_names {
        let deleted = call(shared, &name, |groups, group, waiter, _| {
            groups.delete(group, waiter)
        });
        let outcome = deleted.await.and_then(|outcome| outcome);
        results.push(
            DeletableGroupResult::default()
                .with_group_id(name)
                .with_error_code(code(outcome)),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}
