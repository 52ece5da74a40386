//! The control edge: SPUs to the SC.
//!
//! ```text
//! SPU ── Register ──────────▶ registration (may it?) ─▶ registry (who is connected, who was heard)
//!     ◀── Registered ───────                            │
//!     ◀── snapshot, deltas ── broadcast ◀─ store's watch │ failure detector ─▶ SPU offline
//!     ── Heartbeat, reports ─▶ session ─────────────────┘
//! ```

mod broadcast;
mod failure_detector;
mod members;
mod offsets_topic;
mod producer_ids;
mod registration;
mod registry;
mod runner_reports;
mod session;

use std::sync::Arc;

use thalweg_proto::status_of;
use thalweg_proto::v1::control_server::Control;
use thalweg_proto::v1::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, EnsureOffsetsTopicRequest,
    EnsureOffsetsTopicResponse, ScMessage, SpuMessage,
};
use thalweg_runtime::TaskGroup;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use failure_detector::spawn_failure_detector;
pub(crate) use members::{Members, MembersOptions};
pub(crate) use offsets_topic::OffsetsTopicOptions;
pub(crate) use runner_reports::RunnerReports;

/// Messages on their way to one SPU. What comes on top is coalesced in its session.
const MESSAGES_QUEUED: usize = 2;

/// Answers the control conversation.
#[derive(Debug, Clone)]
pub(crate) struct ControlService {
    members: Arc<Members>,
    offsets_topic: OffsetsTopicOptions,
    sessions: TaskGroup,
}

impl ControlService {
    /// A service that runs each SPU's session in `sessions`.
    pub(crate) fn new(
        members: Arc<Members>,
        offsets_topic: OffsetsTopicOptions,
        sessions: TaskGroup,
    ) -> Self {
        Self {
            members,
            offsets_topic,
            sessions,
        }
    }
}

#[tonic::async_trait]
impl Control for ControlService {
    type ConnectStream = ReceiverStream<Result<ScMessage, Status>>;

    async fn connect(
        &self,
        request: Request<Streaming<SpuMessage>>,
    ) -> Result<Response<Self::ConnectStream>, Status> {
        // The answer begins at once: an SPU may wait for it before it sends its first message.
        let (outbound, messages) = mpsc::channel(MESSAGES_QUEUED);
        let members = Arc::clone(&self.members);
        self.sessions.spawn("spu-session", |shutdown| {
            session::run(members, request.into_inner(), outbound, shutdown)
        });
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn allocate_producer_ids(
        &self,
        request: Request<AllocateProducerIdsRequest>,
    ) -> Result<Response<AllocateProducerIdsResponse>, Status> {
        producer_ids::allocate(self.members.controller(), request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| status_of(&error))
    }

    async fn ensure_offsets_topic(
        &self,
        request: Request<EnsureOffsetsTopicRequest>,
    ) -> Result<Response<EnsureOffsetsTopicResponse>, Status> {
        let controller = self.members.controller();
        offsets_topic::ensure(controller, self.offsets_topic, request.into_inner())
            .await
            .map(Response::new)
            .map_err(|error| status_of(&error))
    }
}
