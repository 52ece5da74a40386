//! Installs the operator where there is none, makes the cluster, and waits until it serves.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{GroupVersionKind, NamespaceResourceScope, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::runtime::conditions::{is_crd_established, is_deployment_completed};
use kube::runtime::wait::await_condition;
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use thalweg_k8s_crd::{Cluster, SpuGroup};

use super::access::{Access, refused};
use super::address::{cluster_name, sc_address};
use super::manifests::{self, CLUSTER, ClusterOptions, OPERATOR, OPERATOR_NAMESPACE};
use super::waiting::until_ready;
use crate::error::CliError;
use crate::output::note;

/// Who applies.
const MANAGER: &str = "thalweg-cli";

/// Which helm release an object is of.
const HELM_RELEASE: &str = "meta.helm.sh/release-name";

/// What to install.
#[derive(Debug, Clone)]
pub(crate) struct InstallOptions {
    /// The cluster. Its image is the operator's as well, where that is installed, too.
    pub(crate) cluster: ClusterOptions,
    /// How long all of it may take.
    pub(crate) timeout: Duration,
}

/// A cluster that serves.
#[derive(Debug)]
pub(crate) struct Installed {
    /// host:port of its controllers.
    pub(crate) sc: String,
    /// SPUs that are ready, of those that are wanted.
    pub(crate) spus: String,
    /// What they run.
    pub(crate) image: String,
}

/// Does all of it, or fails when the time is over; what was applied stays, and another call goes on from there.
pub(crate) async fn install(
    access: &Access,
    options: &InstallOptions,
) -> Result<Installed, CliError> {
    let working = Box::pin(work(access, options));
    match tokio::time::timeout(options.timeout, working).await {
        Ok(installed) => installed,
        Err(_) => {
            let error = anyhow::anyhow!(
                "the cluster does not serve after {}",
                humantime::format_duration(options.timeout)
            );
            Err(CliError::unavailable(error).next_step(format!(
                "`kubectl describe spugroup {CLUSTER} --namespace {}` says what is in the way; give the command again to go on waiting",
                access.namespace
            )))
        }
    }
}

async fn work(access: &Access, options: &InstallOptions) -> Result<Installed, CliError> {
    let mut wanted = options.cluster.clone();
    match operator_deployment(access).await? {
        Some(other) if is_of_others(&other) => {
            let namespace = other.namespace().unwrap_or_default();
            note(&format!("The operator in namespace {namespace} is used."));
        }
        own => {
            let image = wanted.image.take();
            install_operator(access, image, own.as_ref()).await?;
        }
    }
    is_free_for_it(access).await?;
    make_cluster(access, &wanted).await?;
    until_ready::<SpuGroup>(access).await?;
    let cluster = until_ready::<Cluster>(access).await?;
    let status = cluster.status.unwrap_or_default();
    Ok(Installed {
        sc: sc_address(access).await?,
        spus: status.spus.unwrap_or_default(),
        image: status.image.unwrap_or_default(),
    })
}

/// The operator that runs already, wherever it is.
async fn operator_deployment(access: &Access) -> Result<Option<Deployment>, CliError> {
    let api: Api<Deployment> = Api::all(access.client.clone());
    let selector = format!("app.kubernetes.io/name={OPERATOR}");
    let found = api.list(&ListParams::default().labels(&selector)).await;
    let found = found.map_err(refused("look for an operator"))?;
    Ok(found.items.into_iter().next())
}

/// Whether helm or somebody else keeps it.
fn is_of_others(operator: &Deployment) -> bool {
    operator.annotations().contains_key(HELM_RELEASE)
        || operator.namespace().as_deref() != Some(OPERATOR_NAMESPACE)
}

/// Applies the definitions and the operator, where `own` is what an earlier call made of it.
async fn install_operator(
    access: &Access,
    image: Option<String>,
    own: Option<&Deployment>,
) -> Result<(), CliError> {
    note(&format!(
        "Installing the operator in namespace {OPERATOR_NAMESPACE}."
    ));
    for definition in thalweg_k8s_crd::crds() {
        let name = definition.name_any();
        apply(access, json!(definition)).await?;
        let api: Api<CustomResourceDefinition> = Api::all(access.client.clone());
        await_condition(api, &name, is_crd_established()).await?;
    }
    let image = image.or_else(|| image_of(own?));
    for object in manifests::operator(image.as_deref()) {
        apply(access, object).await?;
    }
    let api: Api<Deployment> = Api::namespaced(access.client.clone(), OPERATOR_NAMESPACE);
    await_condition(api, OPERATOR, is_deployment_completed()).await?;
    Ok(())
}

fn image_of(operator: &Deployment) -> Option<String> {
    let pod = operator.spec.as_ref()?.template.spec.as_ref()?;
    pod.containers.first()?.image.clone()
}

/// Refuses a namespace with another cluster, which would take the group of SPUs for its own.
async fn is_free_for_it(access: &Access) -> Result<(), CliError> {
    match cluster_name(access).await? {
        Some(other) if other != CLUSTER => {
            let namespace = &access.namespace;
            let error = anyhow::anyhow!("namespace {namespace} holds the Cluster {other}");
            Err(CliError::usage(error)
                .next_step("choose another with --namespace, or change that one by `kubectl`"))
        }
        _ => Ok(()),
    }
}

/// Applies the `Cluster` and its group, in a namespace that is made where there is none.
async fn make_cluster(access: &Access, options: &ClusterOptions) -> Result<(), CliError> {
    let namespaces: Api<Namespace> = Api::all(access.client.clone());
    let found = namespaces.get_metadata_opt(&access.namespace).await;
    if found.map_err(refused("look for the namespace"))?.is_none() {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": access.namespace},
        });
        apply(access, namespace).await?;
    }
    let cluster = manifests::cluster(options, live(access).await?.as_ref());
    apply(access, cluster).await?;
    let group = manifests::group(options, live(access).await?.as_ref());
    apply(access, group).await
}

async fn live<K>(access: &Access) -> Result<Option<K>, CliError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(access.client.clone(), &access.namespace);
    let found = api.get_opt(CLUSTER).await;
    found.map_err(refused(&format!("read {} {CLUSTER}", K::kind(&()))))
}

/// Applies one object server-side. What others have set is not overwritten.
async fn apply(access: &Access, body: Value) -> Result<(), CliError> {
    let object: DynamicObject = serde_json::from_value(body)?;
    let types = object.types.clone().unwrap_or_default();
    let name = object.name_any();
    let doing = format!("apply {} {name}", types.kind);
    let (resource, capabilities) = pinned_kind(&access.client, &kind_of(&types)?)
        .await
        .map_err(refused(&doing))?;
    let client = access.client.clone();
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client, &resource),
        Scope::Namespaced => {
            let namespace = object.namespace();
            let namespace = namespace.as_ref().unwrap_or(&access.namespace);
            Api::namespaced_with(client, namespace, &resource)
        }
    };
    api.patch(&name, &PatchParams::apply(MANAGER), &Patch::Apply(&object))
        .await
        .map(drop)
        .map_err(refused(&doing))
}

fn kind_of(types: &TypeMeta) -> Result<GroupVersionKind, CliError> {
    GroupVersionKind::try_from(types).map_err(CliError::from)
}
