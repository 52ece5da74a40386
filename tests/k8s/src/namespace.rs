//! A test's own place in the instance.

mod containers;
mod pod;

use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::RwLockReadGuard;

use crate::alone::OTHERS;
use crate::{AuditMark, Identity, Instance, Kubectl, eventually};

/// A namespace that enforces Pod Security `restricted`. It derefs to [`Kubectl`], which acts in it
/// as the cluster's admin. It is deleted when dropped, unless the test has failed.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    instance: Instance,
    kubectl: Kubectl,
    /// Keeps those out that harm what all share. `None` where this test is one of them.
    _among_others: Option<RwLockReadGuard<'static, ()>>,
}

impl Namespace {
    /// A new one, whose name starts with `name`. Waits while a test runs [`crate::Alone`].
    ///
    /// # Panics
    /// When there is no Kubernetes.
    pub async fn new(name: &str) -> Self {
        Self::made(name, Some(OTHERS.read().await))
    }

    pub(crate) fn made(name: &str, among_others: Option<RwLockReadGuard<'static, ()>>) -> Self {
        /// Other runs of a test on the same instance have other processes.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let instance = Instance::of_this_run();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{:x}-{count}", std::process::id());
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": name,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        });
        instance
            .kubectl()
            .run_with_input(&["create", "-f", "-"], &manifest.to_string());
        Self {
            kubectl: instance.kubectl().within(&name),
            instance,
            name,
            _among_others: among_others,
        }
    }

    /// One more for the same test. A test that is to be alone might come between two that are [`Self::new`].
    #[must_use]
    pub fn beside(&self, name: &str) -> Self {
        Self::made(name, None)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The instance that it is in.
    #[must_use]
    pub fn instance(&self) -> &Instance {
        &self.instance
    }

    /// Has the API server know the custom resources, as `k8s/crds` has them.
    ///
    /// # Panics
    /// When it refuses them.
    pub fn establish_resources(&self) {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../k8s/crds");
        self.run(&["apply", "--server-side", "--force-conflicts", "-f", folder]);
        let established = "--for=condition=Established";
        self.run(&["wait", established, "--timeout=60s", "-f", folder]);
    }

    /// Somebody with no more rights than the ServiceAccount `account` of this namespace has.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    #[must_use]
    pub fn identity(&self, account: &str) -> Identity {
        Identity::of(self, account)
    }

    /// Waits until a pod's condition `Ready` has that status: `True`, `False` or `Unknown`.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn pod_is_ready(&self, pod: &str, status: &str) {
        let what = format!("the pod `{pod}` with Ready={status}");
        eventually(&what, async || {
            let ready = self.condition("pod", pod, "Ready")?;
            (ready == status).then_some(())
        })
        .await;
    }

    /// From when on requests are counted.
    #[must_use]
    pub fn audit_from_now(&self) -> AuditMark {
        AuditMark::now(&self.instance)
    }
}

impl Deref for Namespace {
    type Target = Kubectl;

    fn deref(&self) -> &Kubectl {
        &self.kubectl
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seen = [
                &["get", "all", "-o", "wide"][..],
                &["get", "events", "--sort-by=.lastTimestamp"],
            ];
            for arguments in seen {
                if let Ok(text) = self.attempt(arguments, "") {
                    eprintln!("kubectl -n {} {}:\n{text}", self.name, arguments.join(" "));
                }
            }
            return;
        }
        // The instance goes at the end of the run in any case. A namespace with rows would only wait for an
        // SC that is gone, and Kubernetes would be busy with it.
        let rows = ["get", "topics,partitions,spus,smartmodules", "-o", "name"];
        if self.attempt(&rows, "").is_ok_and(|rows| !rows.is_empty()) {
            return;
        }
        let _ = self.attempt(&["delete", "namespace", &self.name, "--wait=false"], "");
    }
}
