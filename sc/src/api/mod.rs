//! The admin edge: clients and tools to the SC, one file per verb.
//!
//! Each verb checks its request by converting it, changes what is wanted, and has the controller
//! reconcile, so that the answer shows what came of it.

mod create_topic;
mod delete_topic;
mod error;
mod read;
mod topic_rules;
mod update_topic;
mod watch;

use std::sync::Arc;

use thalweg_proto::status_of;
use thalweg_proto::v1::admin_server::Admin;
use thalweg_proto::v1::{
    CreateTopicRequest, CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse,
    DescribeClusterRequest, DescribeClusterResponse, GetTopicRequest, GetTopicResponse,
    ListPartitionsRequest, ListPartitionsResponse, ListSmartModulesRequest,
    ListSmartModulesResponse, ListSpusRequest, ListSpusResponse, ListTopicsRequest,
    ListTopicsResponse, UpdateTopicRequest, UpdateTopicResponse, WatchRequest,
};
use thalweg_runtime::CancellationToken;
use tonic::{Request, Response, Status};

use self::error::ApiError;
use crate::state::Controller;

/// Answers the admin conversation.
#[derive(Debug, Clone)]
pub(crate) struct AdminService {
    controller: Arc<Controller>,
    shutdown: CancellationToken,
}

impl AdminService {
    /// A service on `controller` whose watches end when `shutdown` fires.
    pub(crate) fn new(controller: Arc<Controller>, shutdown: CancellationToken) -> Self {
        Self {
            controller,
            shutdown,
        }
    }
}

macro_rules! admin_verbs {
    ($($verb:ident($request:ident) -> $response:ident = $implementation:path;)*) => {
        #[tonic::async_trait]
        impl Admin for AdminService {
            $(async fn $verb(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                answer($implementation(&self.controller, request.into_inner()).await)
            })*

            type WatchStream = watch::WatchStream;

            async fn watch(
                &self,
                request: Request<WatchRequest>,
            ) -> Result<Response<Self::WatchStream>, Status> {
                let WatchRequest {} = request.into_inner();
                answer(watch::watch(&self.controller, self.shutdown.clone()).await)
            }
        }
    };
}

admin_verbs! {
    describe_cluster(DescribeClusterRequest) -> DescribeClusterResponse = read::describe_cluster;
    create_topic(CreateTopicRequest) -> CreateTopicResponse = create_topic::create_topic;
    delete_topic(DeleteTopicRequest) -> DeleteTopicResponse = delete_topic::delete_topic;
    update_topic(UpdateTopicRequest) -> UpdateTopicResponse = update_topic::update_topic;
    get_topic(GetTopicRequest) -> GetTopicResponse = read::get_topic;
    list_topics(ListTopicsRequest) -> ListTopicsResponse = read::list_topics;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse = read::list_partitions;
    list_spus(ListSpusRequest) -> ListSpusResponse = read::list_spus;
    list_smart_modules(ListSmartModulesRequest) -> ListSmartModulesResponse = read::list_smart_modules;
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| status_of(&error))
}
