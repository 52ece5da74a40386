//! One stream to the SC, from its beginning to its end.

use std::time::Duration;

use thalweg_proto::v1::sc_message::Message as FromSc;
use thalweg_proto::v1::spu_message::Message as ToSc;
use thalweg_proto::{ERROR_CODE_ENTRY, error_code, v1};
use thalweg_runtime::CancellationToken;
use thalweg_types::{
    ClusterId, CopyLife, CopyNumber, PartitionEpoch, PartitionId, PartitionIndex, SpuId,
};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};
use tracing::debug;

use super::directive::{self, Cluster, not_older};
use super::{ControlClient, ControlError};
use crate::admin::innermost_reason;
use crate::cluster_view::View;
use crate::replica::{AssignedBy, IsrChange, ReplicaHealth, ReplicaReport};

/// Messages that wait to be sent. An SC that reads so slowly that it fills up is as good as gone.
const OUTGOING_MAX: usize = 64;

/// Between two messages of what has become of transforms, which changes with every record.
const RUNNER_REPORTS_PAUSE: Duration = Duration::from_secs(1);

/// The most runners in one message, so that it stays far below gRPC's limit of 4 MiB.
const RUNNER_REPORTS_MAX: usize = 2048;

/// How a stream ended.
pub(super) enum SessionEnd {
    Shutdown,
    /// Clients reach this SPU elsewhere.
    Moved,
    /// Worth another attempt.
    Lost(String),
    /// The SC does not want this SPU.
    Refused(ControlError),
}

/// One stream to the SC.
pub(super) struct Session<'a> {
    client: &'a ControlClient,
}

impl<'a> Session<'a> {
    pub(super) fn new(client: &'a ControlClient) -> Self {
        Self { client }
    }

    /// Talks to the SC until the stream or the process ends. `told` becomes true once the SC has
    /// sent all there is.
    pub(super) async fn run(self, told: &mut bool, shutdown: &CancellationToken) -> SessionEnd {
        // Dropping the conversation half-way loses nothing: the next one begins with all there is.
        tokio::select! {
            () = shutdown.cancelled() => SessionEnd::Shutdown,
            ended = self.talk(told) => match ended {
                Ok(never) => match never {},
                Err(ended) => ended,
            },
        }
    }

    async fn talk(&self, told: &mut bool) -> Result<std::convert::Infallible, SessionEnd> {
        let (outgoing, queue) = mpsc::channel(OUTGOING_MAX);
        let mut address = self.client.identity.data_address.subscribe();
        let register = self.register(address.borrow_and_update().clone());
        send(&outgoing, ToSc::Register(register))?;
        let mut incoming = self
            .client
            .admin
            .control()
            .connect(ReceiverStream::new(queue))
            .await
            .map_err(|status| self.ended(&status))?
            .into_inner();

        let (cluster, mut heartbeat) = match self.next(&mut incoming).await? {
            FromSc::Registered(registered) => self.registered(&registered)?,
            _ => {
                return Err(SessionEnd::Lost(
                    "it did not begin with `registered`".into(),
                ));
            }
        };
        match self.next(&mut incoming).await? {
            FromSc::Snapshot(snapshot) => self.follow_snapshot(&cluster, snapshot).await?,
            _ => return Err(SessionEnd::Lost("it did not send a snapshot".into())),
        }
        *told = true;
        self.client.log_told();
        let reports = self.client.replicas.reports();
        reports.tell_all_again();
        let isr_changes = self.client.replicas.isr_changes();
        isr_changes.tell_all_again();
        let runner_reports = &self.client.runner_reports;
        runner_reports.tell_all_again();
        let mut looks_at_runners = tokio::time::interval(RUNNER_REPORTS_PAUSE);
        looks_at_runners.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.fill_producer_ids().await;
        let handover = &self.client.handover;
        let mut says_it_stops = false;

        loop {
            tokio::select! {
                message = self.next(&mut incoming) => match message? {
                    FromSc::Delta(delta) => self.follow_delta(delta).await?,
                    FromSc::Snapshot(snapshot) => self.follow_snapshot(&cluster, snapshot).await?,
                    FromSc::IsrRefusals(refusals) => self.take_refusals(refusals)?,
                    FromSc::Refills(refills) => self.take_refills(refills)?,
                    FromSc::Registered(_) => {
                        return Err(SessionEnd::Lost("it said `registered` twice".into()));
                    }
                },
                // The sender lives in the identity, so the only outcome is another address.
                _ = address.changed() => return Err(SessionEnd::Moved),
                _now = heartbeat.tick() => send(&outgoing, ToSc::Heartbeat(v1::Heartbeat {}))?,
                () = handover.begun(), if !says_it_stops => {
                    says_it_stops = true;
                    send(&outgoing, ToSc::Stopping(v1::Stopping {}))?;
                }
                () = reports.changed() => {
                    let reports = reports.take().into_iter().map(message_of).collect();
                    send(&outgoing, ToSc::Replicas(v1::ReplicaReports { reports }))?;
                }
                () = isr_changes.changed() => {
                    let changes = isr_changes.take().into_iter().map(isr_message_of).collect();
                    send(&outgoing, ToSc::IsrChanges(v1::IsrChanges { changes }))?;
                }
                _now = looks_at_runners.tick() => {
                    while let Some(news) = runner_reports.take(RUNNER_REPORTS_MAX) {
                        send(&outgoing, ToSc::Transforms(news.into()))?;
                    }
                }
            }
        }
    }

    fn register(&self, data_address: String) -> v1::Register {
        let ControlClient {
            identity, data_dir, ..
        } = self.client;
        v1::Register {
            spu_id: identity.spu_id.0,
            incarnation: identity.life.incarnation.0,
            cluster_id: data_dir
                .cluster_id()
                .map(|id| id.to_string())
                .unwrap_or_default(),
            directory_id: data_dir.directory_id().to_string(),
            data_address,
            rack: identity.rack.clone(),
            software_version: env!("CARGO_PKG_VERSION").to_owned(),
            ended_well: identity.life.last_ended_well,
        }
    }

    /// The SC took this SPU in: its cluster becomes the data directory's for ever.
    fn registered(&self, message: &v1::Registered) -> Result<(Cluster, Interval), SessionEnd> {
        let known = self.client.view.current().controller_epoch;
        not_older(message.controller_epoch, known).map_err(lost)?;
        let cluster_id: ClusterId = message
            .cluster_id
            .parse()
            .map_err(|_| SessionEnd::Lost("its cluster id is no UUID".into()))?;
        self.client.data_dir.claim(cluster_id).map_err(|conflict| {
            SessionEnd::Refused(ControlError::OtherCluster {
                sc: self.client.identity.sc.clone(),
                conflict,
            })
        })?;
        let every = Duration::from_millis(u64::from(message.heartbeat_interval_ms.max(10)));
        let mut heartbeat = tokio::time::interval(every);
        // After a stall one heartbeat says as much as many.
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let writer = &message.internal_client_id;
        let cluster = Cluster {
            id: cluster_id,
            internal_client_id: (!writer.is_empty()).then(|| writer.as_str().into()),
        };
        Ok((cluster, heartbeat))
    }

    async fn follow_snapshot(
        &self,
        cluster: &Cluster,
        message: v1::ClusterSnapshot,
    ) -> Result<(), SessionEnd> {
        let known = self.client.view.current().controller_epoch;
        let view = directive::snapshot(cluster, known, message).map_err(lost)?;
        let view = self.follow(view).await;
        self.client.replicas.remove_leftovers(&view).await;
        Ok(())
    }

    async fn follow_delta(&self, message: v1::ClusterDelta) -> Result<(), SessionEnd> {
        let view = View::clone(&self.client.view.current());
        self.follow(directive::delta(view, message).map_err(lost)?)
            .await;
        Ok(())
    }

    fn take_refills(&self, message: v1::Refills) -> Result<(), SessionEnd> {
        for refill in message.refills {
            let id = partition_id(&refill.topic_id, refill.partition)?;
            let copy = CopyNumber(refill.copy);
            self.client.replicas.may_be_refilled(id, copy);
        }
        Ok(())
    }

    fn take_refusals(&self, message: v1::IsrRefusals) -> Result<(), SessionEnd> {
        for refusal in message.refusals {
            let id = partition_id(&refusal.topic_id, refusal.partition)?;
            let epoch = PartitionEpoch(refusal.partition_epoch);
            self.client.replicas.isr_refused(id, epoch, &refusal.reason);
        }
        Ok(())
    }

    async fn follow(&self, view: View) -> std::sync::Arc<View> {
        let view = self.client.view.publish(view);
        self.client
            .replicas
            .apply(&view, AssignedBy::Controller)
            .await;
        view
    }

    async fn fill_producer_ids(&self) {
        if let Err(error) = self.client.producer_ids.fill_reserve().await {
            // The next producer asks again.
            debug!(%error, "no reserve of producer ids yet");
        }
    }

    /// The SC's next message. Cancel-safe: a stream keeps what it has not handed out.
    async fn next(&self, incoming: &mut Streaming<v1::ScMessage>) -> Result<FromSc, SessionEnd> {
        match incoming.message().await {
            Ok(Some(v1::ScMessage {
                message: Some(message),
            })) => Ok(message),
            Ok(Some(_)) => Err(SessionEnd::Lost("it sent an empty message".into())),
            Ok(None) => Err(SessionEnd::Lost("it ended the stream".into())),
            Err(status) => Err(self.ended(&status)),
        }
    }

    /// Whether a status is a refusal or only a broken connection.
    fn ended(&self, status: &Status) -> SessionEnd {
        let from_the_sc = status.metadata().get(ERROR_CODE_ENTRY).is_some();
        if from_the_sc && !error_code(status).is_retryable() {
            return SessionEnd::Refused(ControlError::Refused {
                sc: self.client.identity.sc.clone(),
                reason: status.message().to_owned(),
            });
        }
        SessionEnd::Lost(innermost_reason(status))
    }
}

fn send(outgoing: &mpsc::Sender<v1::SpuMessage>, message: ToSc) -> Result<(), SessionEnd> {
    let message = v1::SpuMessage {
        message: Some(message),
    };
    outgoing
        .try_send(message)
        .map_err(|_| SessionEnd::Lost("it does not read what this SPU sends".into()))
}

fn partition_id(topic: &str, partition: i32) -> Result<PartitionId, SessionEnd> {
    let topic = topic.parse();
    Ok(PartitionId {
        topic: topic.map_err(|_| SessionEnd::Lost("a topic id is no UUID".into()))?,
        partition: PartitionIndex(partition),
    })
}

fn isr_message_of((partition, change): (PartitionId, IsrChange)) -> v1::IsrChange {
    let member = |(spu, life): (SpuId, CopyLife)| v1::InSyncReplica {
        spu_id: spu.0,
        incarnation: life.process.0,
        copy: life.copy.0,
    };
    v1::IsrChange {
        topic_id: partition.topic.to_string(),
        partition: partition.partition.0,
        leader_epoch: change.leader_epoch.0,
        partition_epoch: change.partition_epoch.0,
        isr: change.isr.into_iter().map(member).collect(),
    }
}

fn message_of(report: ReplicaReport) -> v1::ReplicaReport {
    let (state, reason) = match report.health {
        ReplicaHealth::Serving => (v1::ReplicaState::Serving, String::new()),
        ReplicaHealth::ReadOnly { reason } => (v1::ReplicaState::ReadOnly, reason),
        ReplicaHealth::Failed { reason } => (v1::ReplicaState::Failed, reason),
    };
    v1::ReplicaReport {
        topic_id: report.partition.topic.to_string(),
        partition: report.partition.partition.0,
        state: state.into(),
        reason,
        leader_epoch: report.leader_epoch.0,
        copy: report.copy.0,
    }
}

fn lost(error: directive::DirectiveError) -> SessionEnd {
    SessionEnd::Lost(super::WithCauses(&error).to_string())
}
