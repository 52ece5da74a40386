//! One write of a row, as the requests that make it.
//!
//! Where spec and status both change these are two requests, and a crash may come between them. So
//! each state in between has to be harmless: a partition's status goes first, since in-sync
//! replicas shrink before replicas do, and a transform's number last, with which it begins anew; of an
//! object that is made, the spec goes first, and without its status it is no row yet.

use std::sync::{Mutex, MutexGuard};

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};
use thalweg_k8s_crd::SC_FINALIZER;
use thalweg_metadata::{Refused, StoreError, WatchEvent, Write};
use thalweg_runtime::Clock;
use thalweg_types::resource::{Resource, ResourceKey, ResourceKind, ResourceVersion, TopicState};

use crate::cluster_record::ClusterRecord;
use crate::convert::{Stamp, same_spec, same_status, spec_of, status_of};
use crate::election::Reign;
use crate::kinds::object_name;
use crate::mirror::{Known, Mirror, Place};
use crate::requests::{RequestError, Requests};

const NO_PANIC: &str = "nothing panics while it holds the mirror";

/// What one write needs, and the changes that come of it.
pub(crate) struct Writing<'a> {
    pub(crate) requests: &'a Requests,
    pub(crate) mirror: &'a Mutex<Mirror>,
    pub(crate) record: &'a ClusterRecord,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) reign: Option<&'a Reign>,
    pub(crate) changes: Vec<WatchEvent>,
}

type Judged = Result<Resource, Refused>;

impl Writing<'_> {
    pub(crate) async fn write(&mut self, write: Write) -> Result<Judged, StoreError> {
        let key = write.key();
        match write {
            Write::Create(row) => self.create(&row).await,
            Write::Update(row) => self.update(&row).await,
            Write::Delete { key, version } => self.delete(&key, version).await,
        }
        .map_err(|error| failed(&error, Some(&key)))
    }

    async fn create(&mut self, row: &Resource) -> Result<Judged, RequestError> {
        let key = row.key();
        let place = place(&key);
        let known = self.mirror().known(&place).cloned();
        let mut at = match known {
            Some(known) if known.row.is_some() || known.is_deleting => {
                return Ok(Err(Refused::AlreadyExists(key)));
            }
            // A user's, which waits for its bytes.
            Some(known) if key.kind() == ResourceKind::SmartModule => {
                self.give_finalizer(&place, known).await?
            }
            Some(known) => {
                self.remove(&place, known.version, &known.finalizers)
                    .await?;
                self.make(&place, row).await?
            }
            None => match self.make(&place, row).await {
                Err(RequestError::AlreadyExists) => {
                    self.look(&place).await?;
                    return Ok(Err(Refused::AlreadyExists(key)));
                }
                made => made?,
            },
        };
        if needs_status(row) {
            at = self.write_status(&place, at, row, 0).await?;
        }
        Ok(at.row.ok_or(Refused::NotFound(key)))
    }

    async fn update(&mut self, row: &Resource) -> Result<Judged, RequestError> {
        let key = row.key();
        let place = place(&key);
        let (mut at, before) = match self.expect(&key, &place, row.version()) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        if is_marked(row) && !is_marked(&before) {
            // As `kubectl delete`: what is marked can't be unmarked.
            return self.mark(&key, &place, at).await;
        }
        let changes_spec = !same_spec(&before, row);
        for half in halves(row) {
            let written = match half {
                Half::Status if same_status(&before, row) => continue,
                Half::Spec if !changes_spec => continue,
                Half::Status => {
                    let is_ahead = changes_spec && halves(row)[0] == Half::Status;
                    self.write_status(&place, at, row, i64::from(is_ahead))
                        .await
                }
                Half::Spec => self.write_spec(&place, at, &before, row).await,
            };
            at = match written {
                Err(RequestError::Conflict | RequestError::NotFound) => {
                    return self.conflict(&key, &place, row.version()).await;
                }
                written => written?,
            };
        }
        Ok(at.row.ok_or(Refused::NotFound(key)))
    }

    async fn write_spec(
        &mut self,
        place: &Place,
        at: Known,
        before: &Resource,
        row: &Resource,
    ) -> Result<Known, RequestError> {
        let operations = spec_operations(before, row, at.pins_version);
        if operations.is_empty() {
            return Ok(at);
        }
        let (kind, name) = place;
        let patched = self
            .fenced(self.requests.patch(*kind, name, at.version, operations))
            .await?;
        Ok(self.take(place, &patched))
    }

    async fn delete(
        &mut self,
        key: &ResourceKey,
        version: ResourceVersion,
    ) -> Result<Judged, RequestError> {
        let place = place(key);
        let (at, row) = match self.expect(key, &place, version) {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        let mut marked = at;
        if !marked.is_deleting {
            let (kind, name) = &place;
            match self
                .fenced(self.requests.delete(*kind, name, marked.version))
                .await
            {
                Ok(Some(object)) => marked = self.take(&place, &object),
                Ok(None) => {
                    self.forget(&place);
                    return Ok(Ok(row));
                }
                Err(RequestError::Conflict | RequestError::NotFound) => {
                    return self.conflict(key, &place, version).await;
                }
                Err(error) => return Err(error),
            }
        }
        self.release(&place, marked.version, &marked.finalizers)
            .await?;
        Ok(Ok(row))
    }

    /// Deletes an object that is no row.
    async fn remove(
        &mut self,
        place: &Place,
        version: ResourceVersion,
        finalizers: &[String],
    ) -> Result<(), RequestError> {
        let (kind, name) = place;
        match self
            .fenced(self.requests.delete(*kind, name, version))
            .await?
        {
            Some(object) => {
                let marked = self.take(place, &object);
                self.release(place, marked.version, finalizers).await
            }
            None => {
                self.forget(place);
                Ok(())
            }
        }
    }

    /// Takes our finalizer from an object that is marked: it goes, unless others' hold it.
    async fn release(
        &mut self,
        place: &Place,
        version: ResourceVersion,
        finalizers: &[String],
    ) -> Result<(), RequestError> {
        let others: Vec<_> = finalizers
            .iter()
            .filter(|one| *one != SC_FINALIZER)
            .collect();
        let operations = vec![json!({
            "op": "add",
            "path": "/metadata/finalizers",
            "value": others,
        })];
        let (kind, name) = place;
        match self
            .fenced(self.requests.patch(*kind, name, version, operations))
            .await
        {
            // Somebody else has done it.
            Ok(_) | Err(RequestError::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.forget(place);
        Ok(())
    }

    /// Marks a row as to be deleted.
    async fn mark(
        &mut self,
        key: &ResourceKey,
        place: &Place,
        at: Known,
    ) -> Result<Judged, RequestError> {
        let (kind, name) = place;
        match self
            .fenced(self.requests.delete(*kind, name, at.version))
            .await
        {
            Ok(Some(object)) => Ok(self
                .take(place, &object)
                .row
                .ok_or(Refused::NotFound(key.clone()))),
            Ok(None) => {
                self.forget(place);
                Ok(Err(Refused::NotFound(key.clone())))
            }
            Err(RequestError::Conflict | RequestError::NotFound) => {
                self.conflict(key, place, at.version).await
            }
            Err(error) => Err(error),
        }
    }

    async fn make(&mut self, place: &Place, row: &Resource) -> Result<Known, RequestError> {
        let (kind, name) = place;
        let made = self
            .fenced(self.requests.create(*kind, name, spec_of(row)))
            .await?;
        Ok(self.take(place, &made))
    }

    async fn give_finalizer(&mut self, place: &Place, at: Known) -> Result<Known, RequestError> {
        if at.finalizers.iter().any(|one| one == SC_FINALIZER) {
            return Ok(at);
        }
        let (kind, name) = place;
        let operations = vec![with_finalizer(&at)];
        let given = self
            .fenced(self.requests.patch(*kind, name, at.version, operations))
            .await?;
        Ok(self.take(place, &given))
    }

    /// Writes the status of a row, for the generation that its object has, or will have in `ahead`.
    pub(crate) async fn write_status(
        &mut self,
        place: &Place,
        at: Known,
        row: &Resource,
        ahead: i64,
    ) -> Result<Known, RequestError> {
        let stamp = Stamp {
            generation: at.generation + ahead,
            before: &at.kept,
            now_ms: self.clock.now_ms(),
        };
        let status = status_of(row, stamp);
        let (kind, name) = place;
        let written = self.fenced(self.requests.patch_status(*kind, name, at.version, status));
        let written = written.await?;
        Ok(self.take(place, &written))
    }

    /// The row as it is known, if it has the version that is expected.
    fn expect(
        &self,
        key: &ResourceKey,
        place: &Place,
        expected: ResourceVersion,
    ) -> Result<(Known, Resource), Refused> {
        let known = self.mirror().known(place).cloned();
        let found = known.and_then(|known| Some((known.row.clone()?, known)));
        match found {
            None => Err(Refused::NotFound(key.clone())),
            Some((row, _)) if row.version() != expected => Err(Refused::Conflict {
                key: key.clone(),
                expected,
                found: row.version(),
            }),
            Some((row, known)) => Ok((known, row)),
        }
    }

    /// What the API server has in the place of what was expected.
    async fn conflict(
        &mut self,
        key: &ResourceKey,
        place: &Place,
        expected: ResourceVersion,
    ) -> Result<Judged, RequestError> {
        let found = self.look(place).await?;
        Ok(Err(match found.and_then(|found| found.row) {
            None => Refused::NotFound(key.clone()),
            Some(row) => Refused::Conflict {
                key: key.clone(),
                expected,
                found: row.version(),
            },
        }))
    }

    /// Reads an object again.
    async fn look(&mut self, place: &Place) -> Result<Option<Known>, RequestError> {
        let (kind, name) = place;
        match self.requests.get(*kind, name).await {
            Ok(object) => Ok(Some(self.take(place, &object))),
            Err(RequestError::NotFound) => {
                self.forget(place);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sends a request, unless this SC no longer leads.
    pub(crate) async fn fenced<T>(
        &self,
        request: impl Future<Output = Result<T, RequestError>>,
    ) -> Result<T, RequestError> {
        if let Some(reign) = self.reign {
            reign.check().map_err(RequestError::NotLeading)?;
        }
        request.await
    }

    /// Takes an object as the API server answered with it.
    pub(crate) fn take(&mut self, place: &Place, object: &DynamicObject) -> Known {
        let mut mirror = self.mirror.lock().expect(NO_PANIC);
        match mirror.heard(place.0, object) {
            Ok(change) => self.changes.extend(change),
            // It was written by this process, in a form that it reads.
            Err(error) => tracing::error!(%error, "an object came back unreadable"),
        }
        let known = mirror.known(place).cloned();
        known.expect("what was heard is known")
    }

    fn forget(&mut self, place: &Place) {
        let mut mirror = self.mirror.lock().expect(NO_PANIC);
        let change = mirror.deleted(place);
        self.changes.extend(change);
    }

    fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().expect(NO_PANIC)
    }
}

/// Where a row's object is.
pub(crate) fn place(key: &ResourceKey) -> Place {
    (key.kind(), object_name(key))
}

/// The operation that adds our finalizer.
pub(crate) fn with_finalizer(at: &Known) -> Value {
    let ours = SC_FINALIZER.to_owned();
    let all: Vec<_> = at.finalizers.iter().cloned().chain([ours]).collect();
    json!({"op": "add", "path": "/metadata/finalizers", "value": all})
}

/// Whether a row that is made has a status that an object without one would not be read with.
fn needs_status(row: &Resource) -> bool {
    match row {
        Resource::Topic(topic) => {
            topic.status.state != TopicState::Pending || !topic.status.reason.is_empty()
        }
        _ => true,
    }
}

/// The two parts of an object that are written apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Half {
    Spec,
    Status,
}

/// In which order the halves of a row are written that change both.
fn halves(row: &Resource) -> [Half; 2] {
    match row {
        // Its number goes last: where it is to begin is of no weight to a transform that has begun, and with
        // the new number it begins there.
        Resource::Transform(_) => [Half::Spec, Half::Status],
        _ => [Half::Status, Half::Spec],
    }
}

fn is_marked(row: &Resource) -> bool {
    matches!(row, Resource::Topic(topic) if topic.status.state == TopicState::Deleting)
}

/// What makes the spec of one row that of another, field by field: fields that the row does not say stay.
fn spec_operations(before: &Resource, now: &Resource, pins_version: bool) -> Vec<Value> {
    if let Resource::SmartModule(module) = now {
        // A version that the spec does not name is the status's alone.
        let current = module.spec.current.to_string();
        let pin = json!({"op": "add", "path": "/spec/version", "value": current});
        return Vec::from_iter(pins_version.then_some(pin));
    }
    let (before, now) = (fields(spec_of(before)), fields(spec_of(now)));
    let mut operations = Vec::new();
    for (field, value) in &now {
        // How many replicas there are by now is the status's.
        if before.get(field) != Some(value) && field != "replicationFactor" {
            operations.push(json!({"op": "add", "path": format!("/spec/{field}"), "value": value}));
        }
    }
    for field in before.keys().filter(|field| !now.contains_key(*field)) {
        let path = format!("/spec/{field}");
        // Added first: what stands for a default may not be there to be removed.
        operations.push(json!({"op": "add", "path": path, "value": 1}));
        operations.push(json!({"op": "remove", "path": path}));
    }
    operations
}

fn fields(spec: Value) -> Map<String, Value> {
    match spec {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

pub(crate) fn failed(error: &RequestError, key: Option<&ResourceKey>) -> StoreError {
    let reason = match key {
        Some(key) => format!("{key}: {error}"),
        None => error.to_string(),
    };
    match error {
        RequestError::NotLeading(_) => StoreError::NotLeading { reason },
        RequestError::Denied(_) => StoreError::Denied { reason },
        _ => StoreError::Failed { reason },
    }
}
