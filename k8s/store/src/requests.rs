//! Requests to the API server: bounded in time, with what can go wrong told apart.

use std::time::Duration;

use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use kube::api::{
    Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
    WatchParams,
};
use kube::core::{DynamicObject, WatchEvent};
use kube::{Client, Config};
use serde_json::{Value, json};
use thalweg_k8s_crd::SC_FINALIZER;
use thalweg_types::resource::{ResourceKind, ResourceVersion};

use crate::kinds::{KINDS, api_resource, kind_name};

/// How long a request may take. A list of 10,000 objects comes in pages, each of which has this long.
const REQUEST_WAIT_MAX: Duration = Duration::from_secs(10);

/// How many objects come in one page of a list.
const PAGE_OBJECTS: u32 = 500;

/// How long the API server may keep one watch open, in seconds; then another begins where it ended.
const WATCH_SECONDS: u32 = 280;

/// Who this is among the managers of an object's fields.
pub(crate) const FIELD_MANAGER: &str = "thalweg-sc";

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The object has another version by now.
    #[error("it has changed meanwhile")]
    Conflict,
    /// There is an object of that name.
    #[error("it exists already")]
    AlreadyExists,
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The API server no longer knows what came after that version.
    #[error("the API server has forgotten that version")]
    Expired,
    /// The API server does not allow it: rights, or the schema.
    #[error("the Kubernetes API server refused: {0}")]
    Denied(String),
    /// This SC may not write: it does not lead. Nothing was asked.
    #[error("{0}")]
    NotLeading(String),
    /// The API server can't be reached, or can't answer now. What was asked may have happened or not.
    #[error("the Kubernetes API server does not answer: {0}")]
    Unavailable(String),
}

impl From<kube::Error> for RequestError {
    fn from(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            return Self::Unavailable(with_causes(&error));
        };
        match (status.code, status.reason.as_str()) {
            (409, "AlreadyExists") => Self::AlreadyExists,
            (409, _) => Self::Conflict,
            (404, _) => Self::NotFound,
            (410, _) => Self::Expired,
            (400..=428, _) => Self::Denied(status.message.clone()),
            _ => Self::Unavailable(status.message.clone()),
        }
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// A client by the pod's service account, or by `KUBECONFIG` outside of a cluster.
///
/// # Errors
/// When neither says where the API server is.
pub async fn connect() -> Result<Client, RequestError> {
    let config = Config::infer()
        .await
        .map_err(|error| RequestError::Unavailable(with_causes(&error)))?;
    Ok(Client::try_from(config)?)
}

/// Requests about the rows of one namespace.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    namespace: String,
}

impl Requests {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self, kind: ResourceKind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &api_resource(kind))
    }

    /// All objects of a kind, and the version as of which they are all.
    pub(crate) async fn list(
        &self,
        kind: ResourceKind,
    ) -> Result<(Vec<DynamicObject>, String), RequestError> {
        let api = self.api(kind);
        let mut objects = Vec::new();
        let mut page = ListParams::default().limit(PAGE_OBJECTS);
        loop {
            let list = in_time(api.list(&page)).await?;
            objects.extend(list.items);
            let next = list.metadata.continue_.filter(|token| !token.is_empty());
            match next {
                Some(token) => page.continue_token = Some(token),
                None => {
                    let version = list.metadata.resource_version.unwrap_or_default();
                    return Ok((objects, version));
                }
            }
        }
    }

    /// What becomes of a kind's objects after `version`.
    pub(crate) async fn watch(
        &self,
        kind: ResourceKind,
        version: &str,
    ) -> Result<BoxStream<'static, Result<WatchEvent<DynamicObject>, RequestError>>, RequestError>
    {
        let parameters = WatchParams::default().timeout(WATCH_SECONDS);
        let api = self.api(kind);
        let events = in_time(api.watch(&parameters, version)).await?;
        Ok(events.map_err(RequestError::from).boxed())
    }

    pub(crate) async fn get(
        &self,
        kind: ResourceKind,
        name: &str,
    ) -> Result<DynamicObject, RequestError> {
        in_time(self.api(kind).get(name)).await
    }

    /// Makes an object, which bears our finalizer where something hangs on its kind.
    pub(crate) async fn create(
        &self,
        kind: ResourceKind,
        name: &str,
        spec: Value,
    ) -> Result<DynamicObject, RequestError> {
        // Of a transform whoever runs it hears, and there is no more to see to.
        let has_finalizer = kind != ResourceKind::Transform;
        let object = DynamicObject {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                finalizers: has_finalizer.then(|| vec![SC_FINALIZER.to_owned()]),
                ..ObjectMeta::default()
            },
            ..DynamicObject::new(name, &api_resource(kind))
        }
        .data(json!({ "spec": spec }));
        let parameters = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        in_time(self.api(kind).create(&parameters, &object)).await
    }

    /// Changes an object that still has `version`, by JSON Patch (RFC 6902).
    pub(crate) async fn patch(
        &self,
        kind: ResourceKind,
        name: &str,
        version: ResourceVersion,
        operations: Vec<Value>,
    ) -> Result<DynamicObject, RequestError> {
        let patch = of_version(version, operations)?;
        in_time(self.api(kind).patch(name, &parameters(), &patch)).await
    }

    /// Gives an object that still has `version` another status.
    pub(crate) async fn patch_status(
        &self,
        kind: ResourceKind,
        name: &str,
        version: ResourceVersion,
        status: Value,
    ) -> Result<DynamicObject, RequestError> {
        let operations = vec![json!({"op": "add", "path": "/status", "value": status})];
        let patch = of_version(version, operations)?;
        in_time(self.api(kind).patch_status(name, &parameters(), &patch)).await
    }

    /// Marks an object that still has `version` as deleted: it goes once no finalizer holds it. `None`
    /// where nothing held it.
    pub(crate) async fn delete(
        &self,
        kind: ResourceKind,
        name: &str,
        version: ResourceVersion,
    ) -> Result<Option<DynamicObject>, RequestError> {
        let parameters = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(version.to_string()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        let deleted = in_time(self.api(kind).delete(name, &parameters)).await?;
        let marked = deleted.left();
        Ok(marked.filter(|object| object.metadata.deletion_timestamp.is_some()))
    }

    /// Whether the API server has the definitions of all kinds, and the rights to read them are given.
    ///
    /// # Errors
    /// Which kind is missing, and what to do.
    pub(crate) async fn check(&self) -> Result<(), RequestError> {
        let one = ListParams::default().limit(1);
        for kind in KINDS {
            match in_time(self.api(kind).list(&one)).await {
                Ok(_) => {}
                Err(RequestError::NotFound) => {
                    let kind = kind_name(kind);
                    let reason = format!(
                        "it knows no kind `{kind}` of thalweg.dev/v1alpha1; apply the definitions in k8s/crds (the chart does)"
                    );
                    return Err(RequestError::Denied(reason));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn parameters() -> PatchParams {
    PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    }
}

/// The operations, for an object that still has `version`; of another version the API server answers
/// with a conflict.
fn of_version(version: ResourceVersion, operations: Vec<Value>) -> Result<Patch<()>, RequestError> {
    let expected = json!({
        "op": "replace",
        "path": "/metadata/resourceVersion",
        "value": version.to_string(),
    });
    let all = std::iter::once(expected).chain(operations).collect();
    serde_json::from_value(Value::Array(all))
        .map(Patch::Json)
        .map_err(|error| RequestError::Denied(error.to_string()))
}

/// The answer, unless it takes too long.
pub(crate) async fn in_time<T>(
    request: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RequestError> {
    match tokio::time::timeout(REQUEST_WAIT_MAX, request).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(RequestError::Unavailable(format!(
            "no answer within {REQUEST_WAIT_MAX:?}"
        ))),
    }
}
