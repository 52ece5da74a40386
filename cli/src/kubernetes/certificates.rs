//! How clients of a cluster on Kubernetes that speaks TLS are to connect.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use thalweg_k8s_crd::Cluster;
use thalweg_types::sha256_hex;

use super::access::{Access, refused};
use super::address::cluster_name;
use crate::error::CliError;
use crate::profiles::config_path;
use crate::tls::TlsProfile;

/// What a profile is to keep of TLS: what the user has said, and for the rest what the namespace's cluster speaks. Its
/// authorities are copied beside the profiles, to a file that is named after what is in it, so that no profile's is
/// another's.
pub(crate) async fn found_tls(
    access: &Access,
    said: Option<TlsProfile>,
) -> Result<Option<TlsProfile>, CliError> {
    let namespace = &access.namespace;
    let Some(name) = cluster_name(access).await? else {
        return Ok(said);
    };
    let clusters: Api<Cluster> = Api::namespaced(access.client.clone(), namespace);
    let cluster = clusters
        .get(&name)
        .await
        .map_err(refused(&format!("read Cluster {name}")))?;
    let Some(tls) = cluster.spec.tls else {
        return Ok(said);
    };
    let secret_name = tls.secret_name.unwrap_or_else(|| format!("{name}-tls"));
    let secrets: Api<Secret> = Api::namespaced(access.client.clone(), namespace);
    let secret = secrets
        .get(&secret_name)
        .await
        .map_err(refused(&format!("read Secret {secret_name}")))
        .map_err(|error| {
            error.next_step("name the address and the cluster's authority yourself: `thalweg profile add NAME HOST:PORT --tls-ca FILE`")
        })?;
    let ca = secret.data.unwrap_or_default().remove("ca.crt");
    let ca = ca.ok_or_else(|| {
        CliError::not_found(format!("Secret {secret_name} has no ca.crt"))
            .next_step("add the certificates of the authorities that signed its tls.crt to it")
    })?;
    let hash = sha256_hex(&ca.0);
    let path = config_path()?.with_file_name(format!("ca-{}.crt", &hash[..16]));
    let folder = path.parent().unwrap_or(&path);
    std::fs::create_dir_all(folder)?;
    std::fs::write(&path, ca.0)?;
    let found = TlsProfile {
        ca: Some(path),
        server_name: Some(format!("{name}-sc.{namespace}.svc")),
        ..TlsProfile::default()
    };
    Ok(Some(found.overridden_by(said)))
}
