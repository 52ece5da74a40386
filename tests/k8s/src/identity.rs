//! Somebody who has the rights of a ServiceAccount and no others.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::{Kubectl, Namespace};

/// A ServiceAccount's kubeconfig, which holds its token and no certificate.
#[derive(Debug)]
pub struct Identity {
    user: String,
    kubeconfig: NamedTempFile,
    kubectl: Kubectl,
}

impl Identity {
    pub(crate) fn of(namespace: &Namespace, account: &str) -> Self {
        let token = namespace.run(&["create", "token", account, "--duration=1h"]);
        let admin = namespace.run(&["config", "view", "--raw", "-o", "json"]);
        let mut config: Value = serde_json::from_str(&admin).expect("kubectl prints JSON");
        let context = config["current-context"].clone();
        let cluster = config["clusters"][0]["name"].clone();
        config["users"] = json!([{"name": account, "user": {"token": token.trim()}}]);
        config["contexts"] = json!([{
            "name": context,
            "context": {"cluster": cluster, "user": account, "namespace": namespace.name()},
        }]);
        let kubeconfig = NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(kubeconfig.path(), config.to_string())
            .expect("a temporary file can be written");
        Self {
            user: format!("system:serviceaccount:{}:{account}", namespace.name()),
            kubectl: Kubectl::with(kubeconfig.path()).within(namespace.name()),
            kubeconfig,
        }
    }

    /// What the API server calls it, as in the audit log.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The file by which programs act as it, for as long as this lives.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        self.kubeconfig.path()
    }

    /// kubectl as it, in its namespace.
    #[must_use]
    pub fn kubectl(&self) -> &Kubectl {
        &self.kubectl
    }
}
