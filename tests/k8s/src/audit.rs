//! What clients asked of the API server, from its audit log.
//!
//! The log has a line for each request of who is no part of Kubernetes itself (`env/audit.yaml`): a
//! settled resource must cause no writes, and an operator must need no more rights than it was given.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use serde_json::Value;

use crate::{Instance, Kubectl, eventually};

/// A moment from which on requests are counted.
#[derive(Debug)]
pub struct AuditMark {
    log: PathBuf,
    from_bytes: u64,
    kubectl: Kubectl,
}

/// A request that was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditedRequest {
    /// Who asked: `admin`, or `system:serviceaccount:NAMESPACE:NAME`.
    pub user: String,
    /// `get`, `create`, `patch` and so on.
    pub verb: String,
    /// In the plural, with a subresource: `topics/status`.
    pub resource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty where the request named no object.
    pub name: String,
    /// The HTTP status.
    pub code: u64,
}

impl AuditMark {
    pub(crate) fn now(instance: &Instance) -> Self {
        let log = instance.folder().join("logs/audit.jsonl");
        let from_bytes = std::fs::metadata(&log).map_or(0, |metadata| metadata.len());
        Self {
            log,
            from_bytes,
            kubectl: instance.kubectl(),
        }
    }

    /// All requests that were answered since, up to now.
    ///
    /// # Panics
    /// When the log can't be read.
    pub async fn requests(&self) -> Vec<AuditedRequest> {
        // A request is written to the log at about the time when it is answered. What was answered
        // before this one has been written once this one is.
        let fence = format!("fence-{}-{}", std::process::id(), self.length());
        assert!(self.kubectl.get(&["configmap", &fence]).is_none());
        eventually("a request in the audit log", async || {
            let requests = self.written();
            let end = requests.iter().position(|request| request.name == fence)?;
            Some(requests[..end].to_vec())
        })
        .await
    }

    /// Those of [`Self::requests`] by which `user` changed something in `namespace`.
    ///
    /// # Panics
    /// When the log can't be read.
    pub async fn writes_of(&self, user: &str, namespace: &str) -> Vec<AuditedRequest> {
        let mut requests = self.requests().await;
        requests.retain(|request| {
            request.is_write() && request.user == user && request.namespace == namespace
        });
        requests
    }

    fn length(&self) -> u64 {
        std::fs::metadata(&self.log).map_or(0, |metadata| metadata.len())
    }

    fn written(&self) -> Vec<AuditedRequest> {
        let mut file = File::open(&self.log).expect("the instance has an audit log");
        file.seek(SeekFrom::Start(self.from_bytes))
            .expect("a log can be read from anywhere");
        let lines = BufReader::new(file).lines();
        lines
            .map(|line| line.expect("the audit log is text"))
            // The last line may be half written.
            .filter_map(|line| serde_json::from_str(&line).ok())
            .map(|event: Value| AuditedRequest::of(&event))
            .collect()
    }
}

impl AuditedRequest {
    fn of(event: &Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let object = &event["objectRef"];
        let mut resource = text(&object["resource"]);
        if let Some(subresource) = object["subresource"].as_str() {
            resource = format!("{resource}/{subresource}");
        }
        Self {
            user: text(&event["user"]["username"]),
            verb: text(&event["verb"]),
            resource,
            namespace: text(&object["namespace"]),
            name: text(&object["name"]),
            code: event["responseStatus"]["code"].as_u64().unwrap_or_default(),
        }
    }

    /// Whether it asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}
