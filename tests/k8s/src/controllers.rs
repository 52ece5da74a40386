//! SCs that keep their rows in a namespace, as processes beside it: pods of simulated nodes run nothing.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use thalweg_tests_cluster::{LocalCluster, Node};

use crate::{Identity, Namespace, eventually};

/// The ServiceAccount that they act as.
const ACCOUNT: &str = "sc";

/// Several SCs of one cluster, each a process with the rights that an SC has on Kubernetes.
#[derive(Debug)]
pub struct Controllers {
    folder: TempDir,
    identity: Identity,
    namespace: String,
}

impl Controllers {
    /// None yet, in `namespace`.
    ///
    /// # Panics
    /// When rights can't be given.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        namespace.run(&["create", "serviceaccount", ACCOUNT]);
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": ACCOUNT},
            "rules": thalweg_k8s_store::rights(),
        });
        namespace.apply_yaml(&role.to_string());
        let subject = format!("--serviceaccount={}:{ACCOUNT}", namespace.name());
        namespace.run(&[
            "create",
            "rolebinding",
            ACCOUNT,
            "--role",
            ACCOUNT,
            &subject,
        ]);
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            identity: namespace.identity(ACCOUNT),
            namespace: namespace.name().to_owned(),
        }
    }

    /// What the API server calls them, as in the audit log.
    #[must_use]
    pub fn user(&self) -> &str {
        self.identity.user()
    }

    /// Starts one. It listens where `listen` says, and leads once it is elected.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(&self, name: &str, listen: &str) -> Node {
        let arguments = [
            format!("--kubernetes-namespace={}", self.namespace),
            format!("--identity={name}"),
            format!("--listen={listen}"),
        ];
        let variables = [("KUBECONFIG", self.identity.kubeconfig())];
        Node::start_with("thalweg-sc", &arguments, &variables, &self.log(name))
            .unwrap_or_else(|error| panic!("SC {name} does not start: {error:#}"))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    /// Waits until one of that name leads.
    pub async fn leads(&self, namespace: &Namespace, name: &str) {
        let what = format!("SC {name} holds the Lease");
        eventually(&what, async || {
            let lease = namespace.get(&["lease", thalweg_k8s_store::LEASE_NAME])?;
            let holder = lease["spec"]["holderIdentity"].as_str()?;
            holder.starts_with(&format!("{name}_")).then_some(())
        })
        .await;
    }

    /// `count` SPUs that know the SC at `address`.
    ///
    /// # Panics
    /// When one does not come up.
    pub async fn spus(&self, address: &str, count: i32) -> LocalCluster {
        let mut cluster = LocalCluster::around(address);
        for id in 0..count {
            cluster.start_spu(id);
        }
        cluster.all_online().await;
        cluster
    }
}
