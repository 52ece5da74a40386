//! One SPU's stream, from its registration to its end.
//!
//! One task reads what the SPU says and writes what it should know. It never waits for the SPU to
//! read: while the stream is full, changes are coalesced in [`Broadcast`], and heartbeats are still
//! heard. Its end stops nothing else.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _};
use thalweg_metadata::{StoreError, Watch};
use thalweg_proto::v1::{ReplicaReport, ReplicaReports, ReplicaState, ScMessage, SpuMessage};
use thalweg_proto::v1::{sc_message, spu_message};
use thalweg_proto::{InvalidField, status, status_of, v1};
use thalweg_runtime::CancellationToken;
use thalweg_types::{
    CopyLife, CopyNumber, ErrorCode, Incarnation, LeaderEpoch, PartitionEpoch, PartitionId,
    PartitionIndex, SpuId,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};
use tracing::debug;

use super::Members;
use super::broadcast::Broadcast;
use super::members::Admitted;
use super::registration::Registration;
use super::registry::{SessionEnd, SessionNumber};
use super::runner_reports::RunnerNews;
use crate::isr::IsrChange;

/// How long a stream may be open without a registration.
const REGISTER_WAIT_MAX: Duration = Duration::from_secs(10);

type Outbound = mpsc::Sender<Result<ScMessage, Status>>;

/// What an SPU says of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Report {
    pub(super) partition: PartitionId,
    /// The reign that it speaks of.
    pub(super) leader_epoch: LeaderEpoch,
    /// Which copy it speaks of.
    pub(super) copy: CopyNumber,
    pub(super) may_lead: bool,
    /// For people.
    pub(super) reason: String,
}

/// What the SPU asked or told and has not been answered.
#[derive(Debug, Default)]
struct Answers {
    /// Changes of in-sync replicas that were refused. Each leader asks for one at a time and partition.
    refusals: Vec<v1::IsrRefusal>,
    /// Copies that may be made anew. Each report is about a partition of its own.
    refills: Vec<v1::Refill>,
}

impl Answers {
    fn is_empty(&self) -> bool {
        self.refusals.is_empty() && self.refills.is_empty()
    }

    fn extend(&mut self, other: Self) {
        self.refusals.extend(other.refusals);
        self.refills.extend(other.refills);
    }

    /// One message of them.
    fn next_message(&mut self) -> ScMessage {
        let message = if self.refusals.is_empty() {
            let refills = std::mem::take(&mut self.refills);
            sc_message::Message::Refills(v1::Refills { refills })
        } else {
            let refusals = std::mem::take(&mut self.refusals);
            sc_message::Message::IsrRefusals(v1::IsrRefusals { refusals })
        };
        ScMessage {
            message: Some(message),
        }
    }
}

/// How a session ended.
enum Ending {
    /// The SPU said goodbye.
    Left,
    /// The stream broke.
    Broken,
    /// The SC ends it, and says why.
    Refused(Status),
}

/// Runs a session to its end.
pub(super) async fn run(
    members: Arc<Members>,
    mut inbound: Streaming<SpuMessage>,
    outbound: Outbound,
    shutdown: CancellationToken,
) -> Result<(), Infallible> {
    let registration = tokio::select! {
        () = shutdown.cancelled() => Err(stopping()),
        registration = first_message(&mut inbound) => registration,
    };
    let outcome = match registration {
        Ok(registration) => {
            let admitted = members.register(&registration).await;
            admitted
                .map(|admitted| (registration.spu, admitted))
                .map_err(|error| {
                    debug!(spu = %registration.spu, %error, "refused an SPU");
                    status_of(&error)
                })
        }
        Err(refused) => Err(refused),
    };
    let ending = match outcome {
        Ok((spu, admitted)) => {
            let mut session = Session {
                members,
                spu,
                number: admitted.number,
                inbound,
                outbound: outbound.clone(),
            };
            session.run(admitted, shutdown).await
        }
        Err(refused) => Ending::Refused(refused),
    };
    if let Ending::Refused(status) = ending {
        // The stream may be full of what the SPU does not read, and then it just ends.
        let _ = outbound.try_send(Err(status));
    }
    Ok(())
}

async fn first_message(inbound: &mut Streaming<SpuMessage>) -> Result<Registration, Status> {
    let invalid = |reason: &str| status(ErrorCode::InvalidRequest, reason);
    let message = tokio::time::timeout(REGISTER_WAIT_MAX, inbound.message())
        .await
        .map_err(|_| invalid("the stream was open for 10 s without a `register` message"))??;
    match message.and_then(|message| message.message) {
        Some(spu_message::Message::Register(register)) => {
            Registration::try_from(register).map_err(|error| invalid(&error.to_string()))
        }
        _ => Err(invalid("the first message must be `register`")),
    }
}

/// A session that was admitted.
struct Session {
    members: Arc<Members>,
    spu: SpuId,
    number: SessionNumber,
    inbound: Streaming<SpuMessage>,
    outbound: Outbound,
}

impl Session {
    async fn run(&mut self, admitted: Admitted, shutdown: CancellationToken) -> Ending {
        // Watching begins after registering, so that the snapshot shows what came of it.
        let ending = match self.greet().await {
            Ok(changes) => self.converse(changes, admitted, shutdown).await,
            Err(error) => Ending::Refused(status(ErrorCode::Unavailable, error.to_string())),
        };
        // An SC that stops says nothing about its SPUs.
        let left = matches!(ending, Ending::Left);
        self.members.disconnected(self.spu, self.number, left).await;
        debug!(spu = %self.spu, left, "the session ended");
        ending
    }

    /// The first message to the SPU; the changes to send after it.
    async fn greet(&self) -> Result<Watch, StoreError> {
        let controller = self.members.controller();
        let interval_ms = self.members.options().heartbeat_interval.as_millis();
        let registered = v1::Registered {
            cluster_id: controller.store().cluster_id().to_string(),
            controller_epoch: controller.epoch().0,
            heartbeat_interval_ms: u32::try_from(interval_ms).unwrap_or(u32::MAX),
            internal_client_id: self.members.options().internal_client_id.clone(),
        };
        let message = ScMessage {
            message: Some(sc_message::Message::Registered(registered)),
        };
        // The stream is new and has room, or it is broken, which reading from it will tell.
        let _ = self.outbound.try_send(Ok(message));
        controller.store().watch().await
    }

    async fn converse(
        &mut self,
        mut changes: Watch,
        mut admitted: Admitted,
        shutdown: CancellationToken,
    ) -> Ending {
        let mut broadcast = Broadcast::new(self.members.controller().epoch());
        let mut answers = Answers::default();
        loop {
            // All of these are cancel-safe: nothing is taken from a stream or a queue unless it is
            // returned, and a permit that is dropped gives its place back.
            tokio::select! {
                () = shutdown.cancelled() => return Ending::Refused(stopping()),
                end = &mut admitted.ended => return Ending::Refused(self.ended(end)),
                message = self.inbound.message() => match message {
                    Ok(Some(message)) => match self.on_message(message).await {
                        Ok(more) => answers.extend(more),
                        Err(refused) => return Ending::Refused(refused),
                    },
                    Ok(None) => return Ending::Left,
                    Err(_) => return Ending::Broken,
                },
                change = changes.next() => {
                    let Some(change) = change else { return Ending::Refused(stopping()) };
                    broadcast.on_change(change);
                    // What is there already goes out in one message.
                    while let Some(Some(change)) = changes.next().now_or_never() {
                        broadcast.on_change(change);
                    }
                }
                permit = self.outbound.reserve(), if broadcast.is_behind() || !answers.is_empty() => match permit {
                    // The partition as it is now comes first: most answers are about an older one.
                    Ok(permit) if broadcast.is_behind() => permit.send(Ok(broadcast.next_message())),
                    Ok(permit) => permit.send(Ok(answers.next_message())),
                    Err(_) => return Ending::Broken,
                },
            }
        }
    }

    async fn on_message(&self, message: SpuMessage) -> Result<Answers, Status> {
        if !self.members.heard(self.spu, self.number) {
            // The reason for its end is on its way.
            return Ok(Answers::default());
        }
        let SpuMessage { message } = message;
        match message {
            Some(spu_message::Message::Heartbeat(v1::Heartbeat {})) | None => {
                Ok(Answers::default())
            }
            Some(spu_message::Message::Register(_)) => Err(status(
                ErrorCode::InvalidRequest,
                "`register` must be sent once, as the first message",
            )),
            Some(spu_message::Message::Replicas(ReplicaReports { reports })) => {
                let reports: Result<Vec<_>, _> =
                    reports.into_iter().map(Report::try_from).collect();
                let reports = reports
                    .map_err(|error| status(ErrorCode::InvalidRequest, error.to_string()))?;
                let reported = self.members.reported(self.spu, &reports).await;
                // An SPU that registers again reports again.
                let refills =
                    reported.map_err(|error| status(ErrorCode::Unavailable, error.to_string()))?;
                Ok(Answers {
                    refills: refills.into_iter().map(refill_of).collect(),
                    ..Answers::default()
                })
            }
            Some(spu_message::Message::Transforms(message)) => {
                let news = RunnerNews::try_from(message)
                    .map_err(|error| status(ErrorCode::InvalidRequest, error.to_string()))?;
                self.members.runner_reports().hear(self.spu, news);
                Ok(Answers::default())
            }
            Some(spu_message::Message::Stopping(v1::Stopping {})) => {
                let stored = self.members.stopping(self.spu, self.number).await;
                // An SPU that registers again says it again.
                stored
                    .map(|()| Answers::default())
                    .map_err(|error| status(ErrorCode::Unavailable, error.to_string()))
            }
            Some(spu_message::Message::IsrChanges(v1::IsrChanges { changes })) => {
                let changes: Result<Vec<_>, _> =
                    changes.into_iter().map(IsrChange::try_from).collect();
                let changes = changes
                    .map_err(|error| status(ErrorCode::InvalidRequest, error.to_string()))?;
                // An SPU that registers again asks again.
                let refused = self.members.change_isr(self.spu, changes).await;
                let refused =
                    refused.map_err(|error| status(ErrorCode::Unavailable, error.to_string()))?;
                Ok(Answers {
                    refusals: refused.into_iter().map(refusal_of).collect(),
                    ..Answers::default()
                })
            }
        }
    }

    fn ended<E>(&self, end: Result<SessionEnd, E>) -> Status {
        let spu = self.spu;
        match end {
            Ok(SessionEnd::Replaced(incarnation)) => {
                let reason = format!("SPU {spu} has registered anew (incarnation {incarnation})");
                status(ErrorCode::Fenced, reason)
            }
            Ok(SessionEnd::Silent) | Err(_) => {
                let timeout = self.members.options().spu_timeout;
                let reason = format!("SPU {spu} was silent for {timeout:?}; register again");
                status(ErrorCode::Unavailable, reason)
            }
        }
    }
}

fn stopping() -> Status {
    status(ErrorCode::Unavailable, "the SC is stopping; connect again")
}

fn refusal_of((change, reason): (IsrChange, String)) -> v1::IsrRefusal {
    debug!(partition = %change.partition, reason, "refused to change in-sync replicas");
    v1::IsrRefusal {
        topic_id: change.partition.topic.to_string(),
        partition: change.partition.partition.0,
        partition_epoch: change.partition_epoch.0,
        reason,
    }
}

fn refill_of((partition, copy): (PartitionId, CopyNumber)) -> v1::Refill {
    v1::Refill {
        topic_id: partition.topic.to_string(),
        partition: partition.partition.0,
        copy: copy.0,
    }
}

fn partition_id(topic: &str, partition: i32) -> Result<PartitionId, InvalidField> {
    Ok(PartitionId {
        topic: topic
            .parse()
            .map_err(|error| InvalidField::new("topic_id", error))?,
        partition: PartitionIndex(partition),
    })
}

impl TryFrom<v1::IsrChange> for IsrChange {
    type Error = InvalidField;

    fn try_from(message: v1::IsrChange) -> Result<Self, InvalidField> {
        let v1::IsrChange {
            topic_id,
            partition,
            leader_epoch,
            partition_epoch,
            isr,
        } = message;
        let member = |member: v1::InSyncReplica| {
            let life = CopyLife {
                process: Incarnation(member.incarnation),
                copy: CopyNumber(member.copy),
            };
            (SpuId(member.spu_id), life)
        };
        Ok(Self {
            partition: partition_id(&topic_id, partition)?,
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch: PartitionEpoch(partition_epoch),
            isr: isr.into_iter().map(member).collect(),
        })
    }
}

impl TryFrom<ReplicaReport> for Report {
    type Error = InvalidField;

    fn try_from(message: ReplicaReport) -> Result<Self, InvalidField> {
        let may_lead = match message.state() {
            // A full disk heals by itself, and the replica still knows all that was acknowledged.
            ReplicaState::Serving | ReplicaState::ReadOnly => true,
            ReplicaState::Failed => false,
            ReplicaState::Unspecified => return Err(InvalidField::missing("state")),
        };
        let ReplicaReport {
            topic_id,
            partition,
            state: _,
            reason,
            leader_epoch,
            copy,
        } = message;
        Ok(Self {
            partition: partition_id(&topic_id, partition)?,
            leader_epoch: LeaderEpoch(leader_epoch),
            copy: CopyNumber(copy),
            may_lead,
            reason,
        })
    }
}
