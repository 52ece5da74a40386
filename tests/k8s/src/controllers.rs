//! SCs that keep their rows in a namespace, as processes beside it: pods of simulated nodes run nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;
use thalweg_tests_cluster::{LocalCluster, Node};

use crate::{Identity, Namespace, eventually};

/// The Role that they have.
const ROLE: &str = "sc";

/// Several SCs of one cluster, each a process with an account of its own and the rights that an SC has on
/// Kubernetes.
#[derive(Debug)]
pub struct Controllers {
    folder: TempDir,
    identities: BTreeMap<String, Identity>,
    namespace: String,
}

impl Controllers {
    /// None yet, in `namespace`.
    ///
    /// # Panics
    /// When rights can't be given.
    #[must_use]
    pub fn of(namespace: &Namespace) -> Self {
        namespace.establish_resources();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": ROLE},
            "rules": thalweg_k8s_store::rights(),
        });
        namespace.apply_yaml(&role.to_string());
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            identities: BTreeMap::new(),
            namespace: namespace.name().to_owned(),
        }
    }

    /// What the API server calls the one of that name, as in the audit log.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn user(&self, name: &str) -> &str {
        self.identities[name].user()
    }

    /// Starts one. It listens where `listen` says, and leads once it is elected.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start(&mut self, namespace: &Namespace, name: &str, listen: &str) -> Node {
        self.start_with(namespace, name, listen, &[])
    }

    /// The same, with more arguments.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_with(
        &mut self,
        namespace: &Namespace,
        name: &str,
        listen: &str,
        more: &[String],
    ) -> Node {
        namespace.run(&["create", "serviceaccount", name]);
        let subject = format!("--serviceaccount={}:{name}", self.namespace);
        namespace.run(&["create", "rolebinding", name, "--role", ROLE, &subject]);
        let identity = namespace.identity(name);
        let mut arguments = vec![
            format!("--kubernetes-namespace={}", self.namespace),
            format!("--identity={name}"),
            format!("--listen={listen}"),
        ];
        arguments.extend_from_slice(more);
        let variables = [("KUBECONFIG", identity.kubeconfig())];
        let node = Node::start_with("thalweg-sc", &arguments, &variables, &self.log(name))
            .unwrap_or_else(|error| panic!("SC {name} does not start: {error:#}"));
        self.identities.insert(name.to_owned(), identity);
        node
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
