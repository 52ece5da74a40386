//! Transforms.

use thalweg_proto::v1;
use thalweg_types::resource::{ResourceVersion, StartPosition, Transform, TransformSpec};
use thalweg_types::{ErrorCode, ResourceName, SpuId, TopicName, TopicPartition, TransformReport};

use super::sc::{all, parsed, required};
use super::{Admin, AdminError};

/// How often a change is tried again that somebody else's came before.
const CHANGE_ATTEMPTS: u32 = 5;

/// A transform to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransform {
    /// Its name.
    pub name: ResourceName,
    /// What is wanted of it.
    pub spec: TransformSpec,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

/// What a transform is to be from now on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformUpdate {
    /// What is wanted of it, as a whole. Inputs and outputs must be those that it has, or all of it what
    /// [`TransformSpec::switched`] gives.
    pub spec: TransformSpec,
    /// Only when the transform still has this version.
    pub expected_version: Option<ResourceVersion>,
    /// Check everything and store nothing.
    pub validate_only: bool,
}

/// A transform, and how it fares on each partition of its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformDescription {
    /// The transform.
    pub transform: Transform,
    /// Of its inputs, in their order.
    pub partitions: Vec<TransformPartition>,
    /// The topic that keeps its state, where it keeps any.
    pub changelog: Option<TopicName>,
    /// How its backfill fares on the same partitions; empty where there is none.
    pub backfill_partitions: Vec<TransformPartition>,
    /// The topic that keeps the backfill's state, where it keeps any.
    pub backfill_changelog: Option<TopicName>,
}

/// How a transform fares on one partition of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformPartition {
    /// The partition.
    pub input: TopicPartition,
    /// The SPU that leads it, and so is to run the transform.
    pub leader: Option<SpuId>,
    /// What the runner there said last.
    pub report: Option<TransformReport>,
    /// Why there is no report, for people; empty where there is one.
    pub reason: String,
}

/// A transform, and how it fares on the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransformListing {
    /// The transform.
    pub transform: Transform,
    /// How many partitions its inputs have.
    pub partitions: u32,
    /// On how many of them it runs.
    pub running: u32,
    /// On how many it has failed.
    pub failed: u32,
    /// How many records are committed and not through, where that is known.
    pub lag_records: i64,
    /// How long ago the oldest of them was appended, in milliseconds.
    pub lag_ms: i64,
}

impl Admin {
    /// Creates a transform. Returns once the SC has stored it; it begins to run after.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: the transform exists, topics or SmartModules that it names
    /// don't, or records would go round for ever.
    pub async fn create_transform(&self, transform: NewTransform) -> Result<Transform, AdminError> {
        let NewTransform {
            name,
            spec,
            validate_only,
        } = transform;
        let request = v1::CreateTransformRequest {
            name: name.to_string(),
            spec: Some(spec.into()),
            validate_only,
        };
        let reply = self.sc().client()?.create_transform(request).await;
        required("transform", self.sc().answered(reply)?.transform)
    }

    /// Gives a transform another spec. It goes on from where it is.
    ///
    /// # Errors
    /// When the SC can't be reached, or refuses: no such transform, other inputs or outputs, what
    /// [`Self::create_transform`] refuses, or a transform that has changed since `expected_version`.
    pub async fn update_transform(
        &self,
        name: &ResourceName,
        update: TransformUpdate,
    ) -> Result<Transform, AdminError> {
        let TransformUpdate {
            spec,
            expected_version,
            validate_only,
        } = update;
        let request = v1::UpdateTransformRequest {
            name: name.to_string(),
            spec: Some(spec.into()),
            expected_version: expected_version.map(|version| version.0),
            validate_only,
        };
        let reply = self.sc().client()?.update_transform(request).await;
        required("transform", self.sc().answered(reply)?.transform)
    }

    /// Has a transform stand still, or go on.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such transform.
    pub async fn pause_transform(
        &self,
        name: &ResourceName,
        paused: bool,
    ) -> Result<Transform, AdminError> {
        self.change_transform(name, |transform| {
            let spec = transform.spec.clone();
            Ok::<_, AdminError>(TransformSpec { paused, ..spec })
        })
        .await
    }

    /// Gives a transform the spec that `change` makes of the row that there is; again where somebody else's change came
    /// in between.
    ///
    /// # Errors
    /// Those of `change`, and when the SC can't be reached, or refuses: see [`Self::update_transform`].
    pub async fn change_transform<E: From<AdminError>>(
        &self,
        name: &ResourceName,
        mut change: impl FnMut(&Transform) -> Result<TransformSpec, E>,
    ) -> Result<Transform, E> {
        let mut attempts = CHANGE_ATTEMPTS;
        loop {
            let transform = self.describe_transform(name).await?.transform;
            let update = TransformUpdate {
                spec: change(&transform)?,
                expected_version: Some(transform.version),
                validate_only: false,
            };
            attempts -= 1;
            match self.update_transform(name, update).await {
                Err(error) if error.code() == ErrorCode::Conflict && attempts > 0 => {}
                updated => return Ok(updated?),
            }
        }
    }

    /// One transform, and how it fares on each partition of its inputs.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such transform.
    pub async fn describe_transform(
        &self,
        name: &ResourceName,
    ) -> Result<TransformDescription, AdminError> {
        let request = v1::GetTransformRequest {
            name: name.to_string(),
        };
        let reply = self.sc().client()?.get_transform(request).await;
        let reply = self.sc().answered(reply)?;
        let read = |partitions: Vec<v1::TransformPartition>| {
            let partitions = partitions.into_iter().map(TransformPartition::read);
            partitions.collect::<Result<_, _>>()
        };
        let topic = |field: &'static str, name: String| {
            let name = Some(name).filter(|name| !name.is_empty());
            name.map(|name| parsed(field, &name)).transpose()
        };
        Ok(TransformDescription {
            transform: required("transform", reply.transform)?,
            partitions: read(reply.partitions)?,
            changelog: topic("changelog", reply.changelog)?,
            backfill_partitions: read(reply.backfill_partitions)?,
            backfill_changelog: topic("backfill_changelog", reply.backfill_changelog)?,
        })
    }

    /// Every transform, and how it fares on the whole.
    ///
    /// # Errors
    /// When the SC can't be reached.
    pub async fn list_transforms(&self) -> Result<Vec<TransformListing>, AdminError> {
        let request = v1::ListTransformsRequest {};
        let reply = self.sc().client()?.list_transforms(request).await;
        let listed = self.sc().answered(reply)?.transforms.into_iter();
        listed.map(TransformListing::read).collect()
    }

    /// Deletes a transform. What it has written stays.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such transform.
    pub async fn delete_transform(&self, name: &ResourceName) -> Result<(), AdminError> {
        let request = v1::DeleteTransformRequest {
            name: name.to_string(),
        };
        let reply = self.sc().client()?.delete_transform(request).await;
        self.sc().answered(reply).map(drop)
    }

    /// Has a transform begin anew at `start`, as if it had never run: its outputs are written to again,
    /// behind what they have.
    ///
    /// # Errors
    /// When the SC can't be reached, or there is no such transform.
    pub async fn reset_transform(
        &self,
        name: &ResourceName,
        start: StartPosition,
    ) -> Result<Transform, AdminError> {
        let request = v1::ResetTransformRequest {
            name: name.to_string(),
            start: start.to_string(),
        };
        let reply = self.sc().client()?.reset_transform(request).await;
        required("transform", self.sc().answered(reply)?.transform)
    }
}

impl TransformPartition {
    fn read(message: v1::TransformPartition) -> Result<Self, AdminError> {
        let v1::TransformPartition {
            input,
            leader,
            report,
            reason,
        } = message;
        let mut reports = all("partitions.report", report.into_iter().collect())?;
        Ok(Self {
            input: required("partitions.input", input)?,
            leader: leader.map(SpuId),
            report: reports.pop(),
            reason,
        })
    }
}

impl TransformListing {
    fn read(message: v1::ListedTransform) -> Result<Self, AdminError> {
        let v1::ListedTransform {
            transform,
            partitions,
            running,
            failed,
            lag_records,
            lag_ms,
        } = message;
        Ok(Self {
            transform: required("transforms.transform", transform)?,
            partitions,
            running,
            failed,
            lag_records,
            lag_ms,
        })
    }
}
