//! What the operator's objects are called and labelled. Pure.
//!
//! Everything is a function of the names of the `Cluster` and the `SpuGroup`, so that nothing has to be
//! remembered.

use std::collections::BTreeMap;

/// Who applies: the field manager, and the value of `app.kubernetes.io/managed-by`.
pub(crate) const MANAGER: &str = "thalweg-operator";

/// Holds a `Cluster` or `SpuGroup` back until the operator has taken down in order what it stands for.
pub(crate) const FINALIZER: &str = "thalweg.dev/operator";

/// On each object: a hash of what was applied last, so that what was taken out of it is seen.
pub(crate) const APPLIED: &str = "thalweg.dev/applied";

/// On an `Spu`: the operator drains it, because its group shrinks. Others may drain SPUs too, and what
/// they drain stays so.
pub(crate) const SCALE_IN: &str = "thalweg.dev/scale-in";

/// On Services: they lead to metrics.
pub(crate) const METRICS: &str = "thalweg.dev/metrics";

/// Where SCs serve clients and SPUs.
pub(crate) const SC_PORT: i32 = 9003;
/// Where SPUs serve clients and each other.
pub(crate) const SPU_PORT: i32 = 9092;
/// Where SPUs answer probes and serve metrics.
pub(crate) const SPU_METRICS_PORT: i32 = 9094;
/// Where SCs answer probes and serve metrics.
pub(crate) const SC_METRICS_PORT: i32 = 9095;

/// What a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    /// A controller.
    Sc,
    /// A streaming processing unit.
    Spu,
}

impl Component {
    /// As the label `app.kubernetes.io/component` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Sc => "sc",
            Self::Spu => "spu",
        }
    }
}

/// The labels that select the pods of `component` of the cluster or group `instance`.
pub(crate) fn selector(component: Component, instance: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "thalweg"),
        ("app.kubernetes.io/component", component.label()),
        ("app.kubernetes.io/instance", instance),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The labels of every object of the cluster or group `instance`.
pub(crate) fn labels(component: Component, instance: &str) -> BTreeMap<String, String> {
    let mut labels = selector(component, instance);
    labels.insert(
        "app.kubernetes.io/managed-by".to_owned(),
        MANAGER.to_owned(),
    );
    labels
}

/// `NAME-sc`: Deployment, Service, ServiceAccount, Role, RoleBinding, budget and policy of the SCs.
pub(crate) fn sc(cluster: &str) -> String {
    format!("{cluster}-sc")
}

/// The name by which the SCs, and all servers of the cluster among themselves, are known.
pub(crate) fn sc_host(cluster: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", sc(cluster))
}

/// `NAME-tls`: the certificate of cert-manager, and its Secret.
pub(crate) fn tls(cluster: &str) -> String {
    format!("{cluster}-tls")
}

/// `NAME-racks`: node name to rack.
pub(crate) fn racks(cluster: &str) -> String {
    format!("{cluster}-racks")
}

/// `NAME-spus`: the policy of the SPUs of all groups.
pub(crate) fn spu_policy(cluster: &str) -> String {
    format!("{cluster}-spus")
}

/// `NAME-transform-secrets`: the secrets that requests of transforms may carry, if somebody made it.
pub(crate) fn transform_secrets(cluster: &str) -> String {
    format!("{cluster}-transform-secrets")
}

/// `NAME-spu`: StatefulSet, headless Service and budget of a group.
pub(crate) fn spu_set(group: &str) -> String {
    format!("{group}-spu")
}

/// `NAME-spu-<n>`: the pod of that index, and the Service that leads to it alone.
pub(crate) fn spu_pod(group: &str, index: i32) -> String {
    format!("{group}-spu-{index}")
}

/// `NAME-spu-addresses`: pod name to advertised address.
pub(crate) fn spu_addresses(group: &str) -> String {
    format!("{group}-spu-addresses")
}

/// The volume claim of the pod of that index.
pub(crate) fn spu_claim(group: &str, index: i32) -> String {
    format!("data-{}", spu_pod(group, index))
}

/// The index of `pod` in `group`, when it is one of the group's.
pub(crate) fn spu_index(group: &str, pod: &str) -> Option<i32> {
    let index = pod.strip_prefix(&spu_set(group))?.strip_prefix('-')?;
    index.parse().ok().filter(|n: &i32| n.to_string() == index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_belongs_to_its_group_alone() {
        assert_eq!(spu_index("main", "main-spu-12"), Some(12));
        assert_eq!(spu_index("main", "main-spu-012"), None);
        assert_eq!(spu_index("main", "main-spu-1-spu-0"), None);
        assert_eq!(spu_index("main-spu-1", "main-spu-1-spu-0"), Some(0));
        assert_eq!(spu_index("main", "main-sc-5d8f"), None);
    }
}
