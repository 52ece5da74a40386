//! What a cluster waits for that has cert-manager make its certificate.

use kube::ResourceExt as _;
use serde_json::Value;
use thalweg_k8s_crd::{Cluster, Verdict};

use crate::names;
use crate::objects::{self, Kind};
use crate::observed::Observed;

/// Why there is no certificate yet, as the condition `Progressing` says it.
pub(super) fn waiting(observed: &Observed, cluster: &Cluster) -> Option<Verdict> {
    let tls = cluster.spec.tls.as_ref()?;
    tls.cert_manager.as_ref()?;
    let waiting = |reason, message| {
        Some(Verdict {
            is_true: true,
            reason,
            message,
        })
    };
    if !observed.foreign_kinds.contains(&Kind::Certificate) {
        return waiting(
            "CertManagerMissing",
            "tls.certManager needs cert-manager, which is not installed here: install it, or make the Cluster anew with tls.secretName".to_owned(),
        );
    }
    let name = names::tls(&cluster.name_any());
    let conditions = observed
        .object(Kind::Certificate, &name)
        .and_then(|one| one.pointer("/status/conditions"))
        .and_then(Value::as_array);
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|one| one["type"] == "Ready");
    match ready {
        Some(ready) if ready["status"] == "True" => None,
        Some(ready) => waiting(
            "CertificatePending",
            format!(
                "Certificate {name} is not ready: {}",
                ready["message"].as_str().unwrap_or_default()
            ),
        ),
        None => waiting(
            "CertificatePending",
            format!("cert-manager has said nothing of Certificate {name} yet"),
        ),
    }
}

/// What pods can't start without, behind what is said of them.
pub(super) fn needed(cluster: &Cluster) -> String {
    let tls = cluster.spec.tls.as_ref();
    tls.map_or_else(String::new, |tls| {
        let secret = objects::secret_name(&cluster.name_any(), tls);
        format!("; they need the files tls.crt, tls.key and ca.crt of Secret {secret}")
    })
}
