//! The one writer of the cluster's resources.
//!
//! Everything that changes them takes [`Controller::change`] first and so comes one after the
//! other; compare-and-set is for writers outside of this process. Watchers (SPUs, clients, the
//! reconciler) hear of a change only once it is stored.

use std::sync::Arc;

use thalweg_metadata::{Counter, MetadataStore, Refused, StoreError, Write};
use thalweg_proto::ServiceError;
use thalweg_runtime::Clock;
use thalweg_types::resource::{Resource, TransformNumber};
use thalweg_types::{ControllerEpoch, ErrorCode};
use tokio::sync::{Mutex, MutexGuard};
use tracing::{debug, warn};

use super::leaders::tell_elections;
use super::observed::View;
use super::plan::plan;
use super::{Observed, ToldByReplicas};

/// How often a plan is worked out afresh before the rest is left to the next change. Creating a
/// topic takes two rounds, deleting one two.
pub(super) const ROUNDS_MAX: usize = 16;

/// Changes the cluster's resources.
#[derive(Debug)]
pub(crate) struct Controller {
    store: Arc<dyn MetadataStore>,
    epoch: ControllerEpoch,
    clock: Arc<dyn Clock>,
    /// Held by whoever is changing resources.
    told: Mutex<ToldByReplicas>,
    view: Mutex<View>,
}

/// The right to change resources, which one caller at a time has.
#[derive(Debug)]
pub(crate) struct Changing<'a> {
    store: &'a dyn MetadataStore,
    clock: &'a dyn Clock,
    view: &'a Mutex<View>,
    /// What SPUs said of their replicas.
    pub(crate) told: MutexGuard<'a, ToldByReplicas>,
}

/// Why resources could not be changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    /// The store could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The write was refused.
    #[error(transparent)]
    Refused(#[from] Refused),
}

impl ServiceError for ChangeError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Store(StoreError::Failed { .. }) => ErrorCode::OutcomeUnknown,
            Self::Store(StoreError::Denied { .. }) => ErrorCode::InvalidRequest,
            Self::Store(StoreError::NotLeading { .. } | StoreError::Closed) => {
                ErrorCode::Unavailable
            }
            Self::Refused(Refused::AlreadyExists(_)) => ErrorCode::AlreadyExists,
            Self::Refused(Refused::NotFound(_)) => ErrorCode::NotFound,
            Self::Refused(Refused::Conflict { .. }) => ErrorCode::Conflict,
        }
    }
}

impl Controller {
    /// The writer of `store` in the reign `epoch`.
    pub(crate) fn new(
        store: Arc<dyn MetadataStore>,
        epoch: ControllerEpoch,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            store,
            epoch,
            clock,
            told: Mutex::default(),
            view: Mutex::default(),
        }
    }

    /// Where the resources are, for reading and watching.
    pub(crate) fn store(&self) -> &dyn MetadataStore {
        &*self.store
    }

    /// The number of this SC's reign.
    pub(crate) fn epoch(&self) -> ControllerEpoch {
        self.epoch
    }

    /// Waits until nobody else is changing resources.
    pub(crate) async fn change(&self) -> Changing<'_> {
        Changing {
            store: &*self.store,
            clock: &*self.clock,
            view: &self.view,
            told: self.told.lock().await,
        }
    }
}

impl Changing<'_> {
    /// Everything as it is stored.
    pub(crate) async fn observe(&self) -> Result<Arc<Observed>, StoreError> {
        self.view.lock().await.look(self.store).await
    }

    /// Makes one write.
    pub(crate) async fn write(&self, write: Write) -> Result<Resource, ChangeError> {
        let mut answers = self.store.write(vec![write]).await?;
        let answer = answers.pop().ok_or(StoreError::Closed)?;
        Ok(answer?)
    }

    /// Makes several writes in order. Those that are refused were built on rows that somebody else
    /// has changed since; reconciling afresh comes to them again.
    pub(crate) async fn write_all(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let written = self.write_each(writes).await?;
        for refused in written.into_iter().filter_map(Result::err) {
            debug!(%refused, "a planned write came too late");
        }
        Ok(())
    }

    /// Makes several writes in order: what became of each.
    pub(crate) async fn write_each(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Resource, Refused>>, StoreError> {
        self.store.write(writes).await
    }

    /// Gives numbers to backfills that have none, whoever asked for them.
    async fn number_backfills(&self, observed: &Observed) -> Result<Vec<Write>, StoreError> {
        let mut numbered = Vec::new();
        for transform in observed.transforms.values() {
            if transform.spec.backfill.is_none() || transform.backfill_number.is_some() {
                continue;
            }
            // Counted as those of transforms are.
            let number = TransformNumber(self.store.take(Counter::ProducerId, 1).await?);
            if number > TransformNumber::MAX {
                warn!(transform = %transform.name, "no number is left for a backfill");
                continue;
            }
            let mut transform = transform.clone();
            transform.backfill_number = Some(number);
            numbered.push(Write::Update(transform.into()));
        }
        Ok(numbered)
    }

    /// Brings what is stored to what is wanted.
    pub(crate) async fn reconcile(&self) -> Result<(), StoreError> {
        for _ in 0..ROUNDS_MAX {
            let observed = self.observe().await?;
            let mut writes = plan(&observed, &self.told.unfit, self.clock.now_ms());
            // Numbered first: a row that the plan changes, too, comes again with what it is then.
            let numbered = self.number_backfills(&observed).await?;
            writes.splice(..0, numbered);
            if writes.is_empty() {
                return Ok(());
            }
            tell_elections(&observed.partitions, &writes);
            debug!(writes = writes.len(), "reconciling");
            self.write_all(writes).await?;
        }
        warn!(
            rounds = ROUNDS_MAX,
            "others change what is reconciled, leaving the rest for later"
        );
        Ok(())
    }
}
