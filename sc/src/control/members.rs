//! The SPUs' coming and going, as it is stored and as it is heard.
//!
//! Sessions and the failure detector call it. What it changes it stores first; the registry in
//! memory says who is connected to this SC, the stored SPU says what everyone else believes.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use thalweg_metadata::{StoreError, Write};
use thalweg_runtime::Clock;
use thalweg_types::resource::{
    Partition, PartitionStatus, Resource, ResourceKey, ResourceKind, Spu, SpuState, SpuStatus,
};
use thalweg_types::{CopyLife, CopyNumber, Durability, PartitionId, SpuId};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use super::registration::{Known, RegisterError, Registration};
use super::registry::{Registry, SessionEnd, SessionNumber};
use super::runner_reports::RunnerReports;
use super::session::Report;
use crate::election::{distrusted, leader_restarted};
use crate::isr::{self, IsrChange};
use crate::state::{ChangeError, Changing, Controller, Observed};

/// How SPUs are watched.
#[derive(Debug, Clone)]
pub(crate) struct MembersOptions {
    /// How often an SPU should be heard.
    pub(crate) heartbeat_interval: Duration,
    /// How long it may be silent.
    pub(crate) spu_timeout: Duration,
    /// Who may produce to internal topics, as SPUs are told.
    pub(crate) internal_client_id: String,
}

/// The SPUs of the cluster.
#[derive(Debug)]
pub(crate) struct Members {
    controller: Arc<Controller>,
    registry: Mutex<Registry>,
    runner_reports: Arc<RunnerReports>,
    clock: Arc<dyn Clock>,
    options: MembersOptions,
}

/// A session that was admitted.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) number: SessionNumber,
    pub(super) ended: oneshot::Receiver<SessionEnd>,
}

impl Members {
    /// The SPUs that `controller` has stored. Those that are stored as online have the timeout from
    /// now to register with this SC.
    pub(crate) async fn new(
        controller: Arc<Controller>,
        clock: Arc<dyn Clock>,
        options: MembersOptions,
    ) -> Result<Self, StoreError> {
        let stored = controller.store().list(ResourceKind::Spu).await?;
        let online = stored.iter().filter_map(|row| match row {
            Resource::Spu(spu) if spu.is_online() => Some(spu.id),
            _ => None,
        });
        let registry = Registry::new(options.spu_timeout, online, clock.monotonic());
        Ok(Self {
            controller,
            registry: Mutex::new(registry),
            runner_reports: Arc::default(),
            clock,
            options,
        })
    }

    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    /// What the runners of transforms say of themselves.
    pub(crate) fn runner_reports(&self) -> &Arc<RunnerReports> {
        &self.runner_reports
    }

    pub(super) fn options(&self) -> &MembersOptions {
        &self.options
    }

    /// Lets an SPU in: its former session ends, partitions that it led get a new leader epoch when
    /// its process has restarted, and it is stored as online.
    pub(super) async fn register(
        &self,
        registration: &Registration,
    ) -> Result<Admitted, RegisterError> {
        let spu = registration.spu;
        let mut changing = self.controller.change().await;
        let observed = changing.observe().await.map_err(ChangeError::from)?;
        let stored = observed.spus.get(&spu);
        registration.judge(&Known {
            cluster_id: self.controller.store().cluster_id(),
            stored,
            replicas: observed.replicas_on(spu),
            live: self.registry().live(spu),
        })?;
        let (number, ended) = self.registry().admit(
            spu,
            registration.directory_id,
            registration.incarnation,
            self.clock.monotonic(),
        );
        // It says all of it again.
        self.runner_reports.forget(spu);
        if stored.is_none_or(|stored| registration.is_restart_of(stored)) {
            changing.told.forget(spu);
        }
        let written = store_registration(&changing, registration, &observed).await;
        if let Err(error) = written {
            self.registry().ended(spu, number);
            return Err(error.into());
        }
        info!(%spu, incarnation = %registration.incarnation, address = registration.data_address, "SPU registered");
        Ok(Admitted { number, ended })
    }

    /// Notes that an SPU lives. Whether its session is still the present one.
    pub(super) fn heard(&self, spu: SpuId, session: SessionNumber) -> bool {
        let now = self.clock.monotonic();
        self.registry().heard(spu, session, now)
    }

    /// Notes what an SPU says of its replicas. A failed one does not lead. Returns which copies may be
    /// made anew if they are damaged.
    pub(super) async fn reported(
        &self,
        spu: SpuId,
        reports: &[Report],
    ) -> Result<Vec<(PartitionId, CopyNumber)>, StoreError> {
        let mut changing = self.controller.change().await;
        let observed = changing.observe().await?;
        changing.told.prune(|id| observed.by_id(id).is_some());
        let mut changed = false;
        let mut failed = Vec::new();
        for report in reports {
            let Some(partition) = observed.by_id(report.partition) else {
                debug!(%spu, partition = %report.partition, "a report about a partition that is gone");
                continue;
            };
            let replica = (spu, report.partition);
            changing.told.note_copy(replica, report.copy);
            if report.leader_epoch < partition.status.leader_epoch {
                debug!(%spu, partition = %report.partition, epoch = %report.leader_epoch, "a report about a former reign");
                continue;
            }
            let reason = (!report.may_lead).then_some(report.reason.as_str());
            changed |= changing.told.note_fitness(replica, reason);
            if !report.may_lead {
                let name = partition.topic_partition();
                warn!(%spu, partition = %name, reason = report.reason, "a replica has failed");
                failed.push(report.partition);
            }
        }
        if changed {
            changing.reconcile().await?;
        }
        if failed.is_empty() {
            return Ok(Vec::new());
        }
        // As it is stored after that.
        let observed = changing.observe().await?;
        let failed = failed.into_iter().filter_map(|id| observed.by_id(id));
        let refills = failed.filter_map(|partition| {
            let copy = changing.told.refill(spu, partition)?;
            info!(%spu, partition = %partition.topic_partition(), "its copy may be made anew if it is damaged");
            Some((partition.id, copy))
        });
        Ok(refills.collect())
    }

    /// Stores the in-sync replicas that `leader` asks for; what comes back is refused, each with the
    /// reason.
    pub(super) async fn change_isr(
        &self,
        leader: SpuId,
        changes: Vec<IsrChange>,
    ) -> Result<Vec<(IsrChange, String)>, StoreError> {
        let mut changing = self.controller.change().await;
        let observed = changing.observe().await?;
        let mut writes = Vec::new();
        let mut asked = Vec::new();
        let mut refused = Vec::new();
        for change in changes {
            let Some(partition) = observed.by_id(change.partition) else {
                refused.push((change, "the partition is gone".to_owned()));
                continue;
            };
            let life = |spu: SpuId| {
                let stored = observed.spus.get(&spu)?;
                let copy = changing.told.fit_copy((spu, change.partition))?;
                (stored.status.state == SpuState::Online).then_some(CopyLife {
                    process: stored.status.incarnation,
                    copy,
                })
            };
            match isr::changed(partition, leader, &change, life) {
                Ok(status) => {
                    let name = partition.topic_partition();
                    info!(partition = %name, isr = ?status.isr, was = ?partition.status.isr, "in-sync replicas");
                    let partition = partition.clone();
                    writes.push(Write::Update(
                        Partition {
                            status,
                            ..partition
                        }
                        .into(),
                    ));
                    asked.push(change);
                }
                Err(reason) => refused.push((change, reason)),
            }
        }
        let written = changing.write_each(writes).await?;
        for (change, written) in asked.into_iter().zip(written) {
            match written {
                Ok(_) => {
                    let isr: Vec<_> = change.isr.iter().map(|(spu, _)| *spu).collect();
                    changing.told.in_sync(change.partition, &isr);
                }
                Err(error) => refused.push((change, error.to_string())),
            }
        }
        Ok(refused)
    }

    /// Notes that an SPU is about to stop: what it leads goes to others, and nothing waits for it.
    pub(super) async fn stopping(
        &self,
        spu: SpuId,
        session: SessionNumber,
    ) -> Result<(), ChangeError> {
        let changing = self.controller.change().await;
        if !self.registry().is_present(spu, session) {
            return Ok(());
        }
        info!(%spu, "SPU is about to stop");
        store_state(&changing, &self.controller, spu, SpuState::Stopping).await
    }

    /// Ends a session whose stream is over. An SPU that `left` in good order is offline at once; a
    /// stream that broke may come back before the timeout.
    pub(super) async fn disconnected(&self, spu: SpuId, session: SessionNumber, left: bool) {
        let was_present = self.registry().ended(spu, session);
        if was_present {
            self.runner_reports.forget(spu);
        }
        if was_present && left {
            info!(%spu, "SPU left");
            self.take_offline(spu).await;
        }
    }

    /// Stores the SPUs that were silent for too long as offline.
    pub(super) async fn look_for_silent(&self) {
        let now = self.clock.monotonic();
        let silent = self.registry().silent(now);
        for spu in silent {
            warn!(%spu, timeout = ?self.options.spu_timeout, "SPU is silent, taking it offline");
            self.runner_reports.forget(spu);
            self.take_offline(spu).await;
        }
    }

    /// Stores an SPU as offline and has its partitions led by others, unless it is back.
    async fn take_offline(&self, spu: SpuId) {
        let changing = self.controller.change().await;
        if self.registry().live(spu).is_some() {
            return;
        }
        let stored = store_state(&changing, &self.controller, spu, SpuState::Offline).await;
        match stored {
            Ok(()) => self.registry().forget(spu),
            // It stays expected, and so is silent again at the next look.
            Err(error) => warn!(%spu, %error, "failed to store that an SPU is offline"),
        }
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry
            .lock()
            .expect("nothing panics while it holds the registry")
    }
}

/// Partitions before the SPU: when a crash comes in between, the SPU registers again and is again
/// seen to have restarted.
async fn store_registration(
    changing: &Changing<'_>,
    registration: &Registration,
    observed: &Observed,
) -> Result<(), ChangeError> {
    let stored = observed.spus.get(&registration.spu);
    if stored.is_some_and(|stored| registration.is_restart_of(stored)) {
        let restarted = observed.partitions.values().filter_map(|partition| {
            let status = restarted(partition, registration, observed)?;
            let partition = partition.clone();
            Some(Write::Update(
                Partition {
                    status,
                    ..partition
                }
                .into(),
            ))
        });
        changing.write_all(restarted.collect()).await?;
    }
    match stored {
        None => {
            let spu = registration.to_spu(None);
            changing.write(Write::Create(spu.into())).await?;
        }
        Some(stored) => {
            let spu = registration.to_spu(Some(stored));
            if spu != *stored {
                changing.write(Write::Update(spu.into())).await?;
            }
        }
    }
    changing.reconcile().await?;
    Ok(())
}

/// The status of a partition after the restart of an SPU that holds it, where it changes.
fn restarted(
    partition: &Partition,
    registration: &Registration,
    observed: &Observed,
) -> Option<PartitionStatus> {
    let spu = registration.spu;
    let topic = observed.topics.get(&partition.topic);
    let may_lack = topic.is_some_and(|topic| topic.spec.config.durability() == Durability::Memory);
    if may_lack
        && !registration.ended_well
        && let Some(status) = distrusted(partition, spu)
    {
        warn!(%spu, partition = %partition.topic_partition(), "stopped uncleanly and may lack records, it is out of sync until it has caught up");
        return Some(status);
    }
    leader_restarted(partition, spu)
}

/// Stores an SPU that is in another state as what it is now, and has others lead.
async fn store_state(
    changing: &Changing<'_>,
    controller: &Controller,
    spu: SpuId,
    state: SpuState,
) -> Result<(), ChangeError> {
    if let Some(Resource::Spu(stored)) = controller.store().get(&ResourceKey::Spu(spu)).await?
        && stored.status.state != state
    {
        let status = SpuStatus {
            state,
            ..stored.status.clone()
        };
        changing
            .write(Write::Update(Spu { status, ..stored }.into()))
            .await?;
    }
    changing.reconcile().await?;
    Ok(())
}
