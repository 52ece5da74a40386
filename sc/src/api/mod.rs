//! The admin edge: clients and tools to the SC, one file per verb.
//!
//! Each verb checks its request by converting it, changes what is wanted, and has the controller
//! reconcile, so that the answer shows what came of it.

mod create_smart_module;
mod create_topic;
mod create_transform;
mod delete_smart_module;
mod delete_topic;
mod delete_transform;
mod elect_leaders;
mod error;
mod get_smart_module;
mod get_transform;
mod list_transforms;
mod module_fields;
mod move_replicas;
mod read;
mod rebalance;
mod reset_transform;
mod rollback_smart_module;
mod spus;
mod topic_rules;
mod update_topic;
mod update_transform;
mod watch;

use std::sync::Arc;

use thalweg_proto::status_of;
use thalweg_proto::v1::admin_server::Admin;
use thalweg_proto::v1::{
    CreateSmartModuleRequest, CreateSmartModuleResponse, CreateTopicRequest, CreateTopicResponse,
    CreateTransformRequest, CreateTransformResponse, DeleteSmartModuleRequest,
    DeleteSmartModuleResponse, DeleteTopicRequest, DeleteTopicResponse, DeleteTransformRequest,
    DeleteTransformResponse, DescribeClusterRequest, DescribeClusterResponse, DrainSpuRequest,
    DrainSpuResponse, ElectLeadersRequest, ElectLeadersResponse, GetSmartModuleRequest,
    GetSmartModuleResponse, GetTopicRequest, GetTopicResponse, GetTransformRequest,
    GetTransformResponse, ListPartitionsRequest, ListPartitionsResponse, ListSmartModulesRequest,
    ListSmartModulesResponse, ListSpusRequest, ListSpusResponse, ListTopicsRequest,
    ListTopicsResponse, ListTransformsRequest, ListTransformsResponse, MoveReplicasRequest,
    MoveReplicasResponse, RebalanceRequest, RebalanceResponse, RemoveSpuRequest, RemoveSpuResponse,
    ResetTransformRequest, ResetTransformResponse, RollbackSmartModuleRequest,
    RollbackSmartModuleResponse, UpdateTopicRequest, UpdateTopicResponse, UpdateTransformRequest,
    UpdateTransformResponse, WatchRequest,
};
use thalweg_runtime::CancellationToken;
use tonic::{Request, Response, Status};

pub(crate) use self::delete_smart_module::remove as remove_smart_module;
use self::error::ApiError;
use crate::control::RunnerReports;
use crate::modules::ModuleRegistry;
use crate::state::Controller;
use crate::transforms::Transforms;

/// Answers the admin conversation.
#[derive(Debug, Clone)]
pub(crate) struct AdminService {
    controller: Arc<Controller>,
    registry: Arc<ModuleRegistry>,
    transforms: Arc<Transforms>,
    shutdown: CancellationToken,
}

impl AdminService {
    /// A service on `controller`, its registry and what is said of its transforms, whose watches end when
    /// `shutdown` fires.
    pub(crate) fn new(
        controller: Arc<Controller>,
        registry: Arc<ModuleRegistry>,
        reports: Arc<RunnerReports>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            transforms: Arc::new(Transforms {
                controller: Arc::clone(&controller),
                reports,
            }),
            controller,
            registry,
            shutdown,
        }
    }
}

macro_rules! admin_verbs {
    ($($verb:ident($request:ident) -> $response:ident = $implementation:path, $of:ident;)*) => {
        #[tonic::async_trait]
        impl Admin for AdminService {
            $(async fn $verb(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                answer($implementation(&self.$of, request.into_inner()).await)
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
    describe_cluster(DescribeClusterRequest) -> DescribeClusterResponse = read::describe_cluster, controller;
    create_topic(CreateTopicRequest) -> CreateTopicResponse = create_topic::create_topic, controller;
    delete_topic(DeleteTopicRequest) -> DeleteTopicResponse = delete_topic::delete_topic, controller;
    update_topic(UpdateTopicRequest) -> UpdateTopicResponse = update_topic::update_topic, controller;
    get_topic(GetTopicRequest) -> GetTopicResponse = read::get_topic, controller;
    list_topics(ListTopicsRequest) -> ListTopicsResponse = read::list_topics, controller;
    list_partitions(ListPartitionsRequest) -> ListPartitionsResponse = read::list_partitions, controller;
    elect_leaders(ElectLeadersRequest) -> ElectLeadersResponse = elect_leaders::elect_leaders, controller;
    move_replicas(MoveReplicasRequest) -> MoveReplicasResponse = move_replicas::move_replicas, controller;
    rebalance(RebalanceRequest) -> RebalanceResponse = rebalance::rebalance, controller;
    drain_spu(DrainSpuRequest) -> DrainSpuResponse = spus::drain_spu, controller;
    remove_spu(RemoveSpuRequest) -> RemoveSpuResponse = spus::remove_spu, controller;
    list_spus(ListSpusRequest) -> ListSpusResponse = read::list_spus, controller;
    create_smart_module(CreateSmartModuleRequest) -> CreateSmartModuleResponse = create_smart_module::create_smart_module, registry;
    get_smart_module(GetSmartModuleRequest) -> GetSmartModuleResponse = get_smart_module::get_smart_module, registry;
    list_smart_modules(ListSmartModulesRequest) -> ListSmartModulesResponse = read::list_smart_modules, controller;
    delete_smart_module(DeleteSmartModuleRequest) -> DeleteSmartModuleResponse = delete_smart_module::delete_smart_module, registry;
    create_transform(CreateTransformRequest) -> CreateTransformResponse = create_transform::create_transform, controller;
    update_transform(UpdateTransformRequest) -> UpdateTransformResponse = update_transform::update_transform, controller;
    get_transform(GetTransformRequest) -> GetTransformResponse = get_transform::get_transform, transforms;
    list_transforms(ListTransformsRequest) -> ListTransformsResponse = list_transforms::list_transforms, transforms;
    delete_transform(DeleteTransformRequest) -> DeleteTransformResponse = delete_transform::delete_transform, controller;
    reset_transform(ResetTransformRequest) -> ResetTransformResponse = reset_transform::reset_transform, controller;
    rollback_smart_module(RollbackSmartModuleRequest) -> RollbackSmartModuleResponse = rollback_smart_module::rollback_smart_module, registry;
}

fn answer<T>(outcome: Result<T, ApiError>) -> Result<Response<T>, Status> {
    outcome
        .map(Response::new)
        .map_err(|error| status_of(&error))
}
