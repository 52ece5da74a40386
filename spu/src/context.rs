//! What the data protocol's handlers work with. Made by `Spu::start`, cloned for each connection.

use std::sync::Arc;

use thalweg_runtime::Clock;
use thalweg_runtime::net::tls::{TlsClient, TlsServer};
use thalweg_smartengine::SmartEngine;
use thalweg_types::SpuId;

use crate::admin::AdminForward;
use crate::cluster_view::ClusterView;
use crate::groups::GroupCoordinator;
use crate::metrics::Metrics;
use crate::modules::RegisteredModules;
use crate::options::SpuOptions;
use crate::producer_ids::ProducerIds;
use crate::replica::ReplicaSet;
use crate::transforms::RunnerReports;

/// The parts of this SPU that answer a client's request. Cheap to clone.
#[derive(Clone)]
pub struct SpuContext {
    /// This SPU.
    pub spu_id: SpuId,
    /// The partitions that it holds.
    pub replicas: Arc<ReplicaSet>,
    /// The cluster as the SC last told it.
    pub view: Arc<ClusterView>,
    /// Where idempotent producers get their identity.
    pub producer_ids: Arc<ProducerIds>,
    /// The way to the SC for topic administration.
    pub admin: Arc<AdminForward>,
    /// The SmartModules that the cluster keeps.
    pub modules: Arc<RegisteredModules>,
    /// The coordinator of consumer groups.
    pub groups: Arc<GroupCoordinator>,
    /// What the runners of transforms say of themselves, on its way to the SC.
    pub reports: Arc<RunnerReports>,
    /// The host of SmartModules.
    pub engine: SmartEngine,
    /// What is counted for those who watch.
    pub metrics: Arc<Metrics>,
    /// How clients connect, where not without TLS.
    pub tls: Option<Arc<TlsServer>>,
    /// How the other SPUs are connected to, where not without TLS.
    pub peers_tls: Option<Arc<TlsClient>>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Settings and limits.
    pub options: Arc<SpuOptions>,
}
