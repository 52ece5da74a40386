//! The StatefulSet of a group of SPUs.
//!
//! Pods start all at once (`Parallel`), since SPUs need not wait for each other, and are replaced by
//! nobody but the operator (`OnDelete`), which knows when it does no harm. The size of the claim
//! template can't be changed, so it stays what it was when the set was made, and the operator grows each
//! claim.

use serde_json::{Value, json};
use thalweg_k8s_crd::{ClaimPolicy, Cluster, SpuGroup};
use thalweg_types::{parse_duration, sha256_hex};

use super::pod::{PodOptions, probe, template};
use super::settings::{given, of_pod, variables};
use super::{Kind, Owner, Wanted};
use crate::names::{self, Component};

/// How much longer than the handover a pod is given to end.
const GRACE_SECONDS: u64 = 30;

/// What of the set does not come from the group alone.
#[derive(Debug, Clone)]
pub(crate) struct SpuSetOptions<'a> {
    /// The cluster that the SPUs belong to.
    pub(crate) cluster: &'a Cluster,
    /// Its name.
    pub(crate) cluster_name: &'a str,
    /// What the pods run.
    pub(crate) image: String,
    /// How many pods there are: what the group wants, or more while some are drained.
    pub(crate) replicas: i32,
    /// The size in the claim template.
    pub(crate) claim_size: &'a str,
    /// Whether claims stay whatever the group says, because the cluster goes and its data does not.
    pub(crate) keep_claims: bool,
}

/// The StatefulSet of `group`, called `name`.
pub(crate) fn stateful_set(
    owner: &Owner<'_>,
    name: &str,
    group: &SpuGroup,
    options: &SpuSetOptions<'_>,
) -> Wanted {
    let policy = |policy| match (options.keep_claims, policy) {
        (true, _) | (_, ClaimPolicy::Retain) => "Retain",
        (_, ClaimPolicy::Delete) => "Delete",
    };
    let storage = &group.spec.storage;
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "labels": names::selector(Component::Spu, name)},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": storage.class_name,
            "resources": {"requests": {"storage": options.claim_size}},
        },
    });
    let spec = json!({
        "replicas": options.replicas,
        "serviceName": names::spu_set(name),
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "OnDelete"},
        "selector": {"matchLabels": names::selector(Component::Spu, name)},
        "persistentVolumeClaimRetentionPolicy": {
            "whenDeleted": policy(storage.when_deleted),
            "whenScaled": policy(storage.when_scaled),
        },
        "volumeClaimTemplates": [claim],
        "template": pod(name, group, options),
    });
    owner.object(
        Kind::StatefulSet,
        names::spu_set(name),
        json!({}),
        json!({"spec": spec}),
    )
}

fn pod(name: &str, group: &SpuGroup, options: &SpuSetOptions<'_>) -> Value {
    // SPUs read their address when they start: another kind of address needs a restart.
    let address = sha256_hex(json!(group.spec.address).to_string().as_bytes());
    let has_racks = !options.cluster.spec.racks.node_label.is_empty();
    let mut mounts = vec![
        json!({"name": "data", "mountPath": "/var/lib/thalweg"}),
        json!({"name": "addresses", "mountPath": "/etc/thalweg/addresses", "readOnly": true}),
        json!({"name": "secrets", "mountPath": "/etc/thalweg/secrets", "readOnly": true}),
    ];
    let secrets = names::transform_secrets(options.cluster_name);
    let mut volumes = vec![
        json!({"name": "addresses", "configMap": {"name": names::spu_addresses(name)}}),
        // Whoever needs it makes it, also when pods run already.
        json!({"name": "secrets", "secret": {"secretName": secrets, "optional": true}}),
    ];
    if has_racks {
        mounts.push(json!({"name": "racks", "mountPath": "/etc/thalweg/racks", "readOnly": true}));
        volumes.push(
            json!({"name": "racks", "configMap": {"name": names::racks(options.cluster_name)}}),
        );
    }
    template(PodOptions {
        cluster: options.cluster,
        image: &options.image,
        component: Component::Spu,
        instance: name,
        settings: &group.spec.pod,
        annotations: json!({"thalweg.dev/address": address[..16]}),
        container: json!({
            "command": ["thalweg-spu"],
            "env": env(group, options, has_racks),
            "ports": [
                {"name": "data", "containerPort": names::SPU_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": names::SPU_METRICS_PORT, "protocol": "TCP"},
            ],
            // Half an hour, since all that was written last is read back after a crash.
            "startupProbe": probe("/startupz", 2, 900),
            "livenessProbe": probe("/livez", 10, 6),
            "readinessProbe": probe("/readyz", 2, 2),
            "volumeMounts": mounts,
        }),
        spec: json!({
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": grace_seconds(group),
        }),
        volumes,
    })
}

fn env(group: &SpuGroup, options: &SpuSetOptions<'_>, has_racks: bool) -> Vec<Value> {
    let sc = format!("{}:{}", names::sc(options.cluster_name), names::SC_PORT);
    let mut env = vec![
        of_pod("POD_NAME", "metadata.name"),
        of_pod("NODE_NAME", "spec.nodeName"),
        of_pod(
            "THALWEG_SPU_ID",
            "metadata.labels['apps.kubernetes.io/pod-index']",
        ),
        given("THALWEG_SPU_ID_BASE", group.spec.min_id.to_string()),
        given("THALWEG_SPU_SC", sc),
        given("THALWEG_SPU_LISTEN", format!("0.0.0.0:{}", names::SPU_PORT)),
        given("THALWEG_SPU_DATA_DIR", "/var/lib/thalweg/spu"),
        given(
            "THALWEG_SPU_ADVERTISE_FILE",
            "/etc/thalweg/addresses/$(POD_NAME)",
        ),
        given("THALWEG_SPU_SECRETS_DIR", "/etc/thalweg/secrets"),
        of_pod("THALWEG_SPU_HOST_IP", "status.hostIP"),
        given(
            "THALWEG_SPU_METRICS_LISTEN",
            format!("0.0.0.0:{}", names::SPU_METRICS_PORT),
        ),
    ];
    if has_racks {
        env.push(given(
            "THALWEG_SPU_RACK_FILE",
            "/etc/thalweg/racks/$(NODE_NAME)",
        ));
    }
    env.extend(variables("THALWEG_SPU_", &group.spec.settings));
    env
}

/// Longer than the handover takes at most, so that kubelet does not kill in the middle of it.
fn grace_seconds(group: &SpuGroup) -> u64 {
    // The API server has checked the text.
    let handover = parse_duration(&group.spec.settings.handover_timeout.0).unwrap_or_default();
    handover.as_secs() + GRACE_SECONDS
}
