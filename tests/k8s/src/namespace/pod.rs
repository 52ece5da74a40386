//! Pods that tests make themselves.

use serde_json::{Value, json};

use super::Namespace;

impl Namespace {
    /// A pod that Pod Security `restricted` lets in and that writes nothing, with a container for each name
    /// and command. It is never started again.
    #[must_use]
    pub fn restricted_pod(
        name: &str,
        node: &str,
        image: &str,
        containers: &[(&str, &[&str])],
    ) -> Value {
        let containers: Vec<_> = containers
            .iter()
            .map(|(container, command)| {
                json!({
                    "name": container,
                    "image": image,
                    "command": command,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                })
            })
            .collect();
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeName": node,
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": containers,
            },
        })
    }
}
