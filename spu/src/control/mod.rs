//! This SPU's conversation with the SC.
//!
//! [`ControlClient`] is the task: it keeps one stream to the SC, registers, heartbeats, and
//! carries what the SC says into the [`ClusterView`] and the [`ReplicaSet`]. What the messages
//! mean is decided by `directive`, purely. While there is no SC everything else goes on.

mod directive;
mod handover;
mod session;

use std::sync::Arc;

use thalweg_runtime::{Backoff, BackoffOptions, CancellationToken};
use thalweg_storage::{DataDir, DataDirError};
use thalweg_types::SpuId;
use tokio::sync::watch;
use tracing::{debug, error, info, warn};

pub(crate) use self::handover::Handover;
use self::session::{Session, SessionEnd};
use crate::admin::AdminForward;
use crate::cluster_view::ClusterView;
use crate::incarnation::Life;
use crate::producer_ids::ProducerIds;
use crate::replica::ReplicaSet;
use crate::transforms::RunnerReports;

/// Of the failed attempts in a row, every so many is logged for people; at the longest wait this
/// is twice a minute.
const ATTEMPTS_BETWEEN_WARNINGS: u32 = 15;

/// Why this SPU may not be part of the cluster.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The SC refused it: the wrong cluster, an id that another SPU uses.
    #[error("the SC at `{sc}` refused this SPU: {reason}")]
    Refused {
        /// The SC's address.
        sc: String,
        /// The SC's words.
        reason: String,
    },
    /// The data directory belongs elsewhere.
    #[error("the SC at `{sc}` leads another cluster: {conflict}")]
    OtherCluster {
        /// The SC's address.
        sc: String,
        /// What it would break.
        conflict: DataDirError,
    },
}

/// Who this SPU is to the SC.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) sc: String,
    pub(crate) spu_id: SpuId,
    pub(crate) life: Life,
    /// How clients reach it, which may change.
    pub(crate) data_address: watch::Sender<String>,
    pub(crate) rack: String,
}

/// The task that talks to the SC.
pub(crate) struct ControlClient {
    pub(crate) identity: Identity,
    pub(crate) admin: Arc<AdminForward>,
    pub(crate) data_dir: Arc<DataDir>,
    pub(crate) view: Arc<ClusterView>,
    pub(crate) replicas: Arc<ReplicaSet>,
    pub(crate) producer_ids: Arc<ProducerIds>,
    pub(crate) runner_reports: Arc<RunnerReports>,
    pub(crate) handover: Arc<Handover>,
    /// Becomes true once an SC has told this process what there is.
    pub(crate) told: watch::Sender<bool>,
}

impl ControlClient {
    /// Keeps a stream to the SC until the shutdown. Its failure stops the process: it fails only
    /// when the first SC that answers in this process's life refuses it.
    pub(crate) async fn run(self, shutdown: CancellationToken) -> Result<(), ControlError> {
        let mut backoff = Backoff::new(BackoffOptions::default());
        while !shutdown.is_cancelled() {
            let mut told_now = false;
            let ended = Session::new(&self).run(&mut told_now, &shutdown).await;
            self.handover.heard_by_sc(false);
            if told_now {
                backoff.reset();
            }
            match ended {
                SessionEnd::Shutdown => break,
                SessionEnd::Moved => info!("registering again with another address"),
                SessionEnd::Lost(reason) => self.log_lost(&reason, told_now, backoff.attempt()),
                SessionEnd::Refused(refused) => {
                    // A process that serves goes on: its data is worth more than a clean state.
                    if !*self.told.borrow() {
                        return Err(refused);
                    }
                    error!(error = %WithCauses(&refused), "serving on without an SC");
                }
            }
            backoff.wait(&shutdown).await;
        }
        Ok(())
    }

    fn log_lost(&self, reason: &str, told_now: bool, attempt: u32) {
        let sc = &self.identity.sc;
        if told_now {
            warn!(sc, reason, "lost the SC, serving on and reconnecting");
        } else if attempt.is_multiple_of(ATTEMPTS_BETWEEN_WARNINGS) {
            let serving = self.view.current().cluster_id.is_some();
            warn!(
                sc,
                reason, serving, "no SC answers, retrying; check that it is up"
            );
        } else {
            debug!(sc, reason, attempt, "no SC answers, retrying");
        }
    }

    fn log_told(&self) {
        self.handover.heard_by_sc(true);
        let first = !self.told.send_replace(true);
        let sc = &self.identity.sc;
        if first {
            info!(sc, incarnation = %self.identity.life.incarnation, "registered");
        } else {
            info!(sc, "found the SC again");
        }
    }
}

/// Writes an error with its causes on one line.
pub(crate) struct WithCauses<'a>(pub(crate) &'a dyn std::error::Error);

impl std::fmt::Display for WithCauses<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
