//! SmartModules from OCI registries: an artifact with one layer that is a module, as `oras push` makes it.
//!
//! By the OCI Distribution Specification 1.1 and the layout that WebAssembly artifacts have there (CNCF TAG Runtime,
//! "Wasm OCI Artifact layout"): one layer of media type `application/wasm`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::manifest::{OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use serde::Deserialize;
use thalweg_k8s_store::SourceRefused;
use thalweg_smartmodule_inspect::MODULE_BYTES_MAX;

/// What a layer that is a module calls itself; the latter two are of before there was a convention.
const MEDIA_TYPES: [&str; 3] = [
    "application/wasm",
    "application/vnd.wasm.content.layer.v1+wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
];

/// How long a registry may take to begin, and how long it may be silent.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long a module may take to come.
const PULL_WAIT: Duration = Duration::from_secs(120);

/// Fetches the module that `reference` names. `plain_http` is for registries without TLS; `credentials` is the
/// folder of Secrets that open registries.
///
/// # Errors
/// When it can't be had, or is no module.
pub(super) async fn pull(
    reference: &str,
    plain_http: bool,
    credentials: Option<&Path>,
) -> Result<Vec<u8>, SourceRefused> {
    let refused = |reason, message: String| SourceRefused {
        reason,
        message: format!("{reference}: {message}"),
    };
    let image: Reference = reference.parse().map_err(|error| {
        refused(
            "WrongReference",
            format!("{error}; write it as registry/repository:tag"),
        )
    })?;
    let auth = match credentials {
        Some(folder) => credentials_of(folder, image.resolve_registry())
            .await
            .map_err(|why| refused("CredentialsNotRead", why))?,
        None => RegistryAuth::Anonymous,
    };
    // An error says that it was done before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(ClientConfig {
        protocol: if plain_http {
            ClientProtocol::Http
        } else {
            ClientProtocol::Https
        },
        read_timeout: Some(ANSWER_WAIT),
        connect_timeout: Some(ANSWER_WAIT),
        ..ClientConfig::default()
    });
    let pulling = fetch(&client, &image, &auth);
    match tokio::time::timeout(PULL_WAIT, pulling).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err((reason, message))) => Err(refused(reason, message)),
        Err(_) => Err(refused(
            "NotPulled",
            format!("it has not come within {} s", PULL_WAIT.as_secs()),
        )),
    }
}

async fn fetch(
    client: &Client,
    image: &Reference,
    auth: &RegistryAuth,
) -> Result<Vec<u8>, (&'static str, String)> {
    let not_pulled =
        |error: oci_client::errors::OciDistributionError| ("NotPulled", error.to_string());
    let (manifest, _) = client
        .pull_manifest(image, auth)
        .await
        .map_err(not_pulled)?;
    let OciManifest::Image(manifest) = manifest else {
        let message = "it is an index of several artifacts; name one of them by its digest";
        return Err(("NoModule", message.to_owned()));
    };
    let layer = module_layer(&manifest).map_err(|message| ("NoModule", message))?;
    let blob = client
        .pull_blob_stream(image, layer)
        .await
        .map_err(not_pulled)?;
    collected(blob, MODULE_BYTES_MAX)
        .await
        .map_err(|message| ("NotPulled", message))
}

/// All of a stream of at most `bytes_max`: what a manifest says of a blob's size binds no registry.
async fn collected(
    mut blob: impl Stream<Item = std::io::Result<Bytes>> + Unpin,
    bytes_max: usize,
) -> Result<Vec<u8>, String> {
    let mut whole = Vec::new();
    while let Some(part) = blob.next().await {
        let part = part.map_err(|error| error.to_string())?;
        if whole.len() + part.len() > bytes_max {
            return Err(format!("the registry sends more than {bytes_max} bytes"));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// The only layer that is a module.
fn module_layer(
    manifest: &OciImageManifest,
) -> Result<&oci_client::manifest::OciDescriptor, String> {
    let mut modules = manifest
        .layers
        .iter()
        .filter(|layer| MEDIA_TYPES.contains(&layer.media_type.as_str()));
    let (Some(layer), None) = (modules.next(), modules.next()) else {
        let found: Vec<_> = manifest
            .layers
            .iter()
            .map(|layer| layer.media_type.as_str())
            .collect();
        return Err(format!(
            "it needs one layer of type application/wasm, and has {found:?}; push it by `oras push REFERENCE module.wasm:application/wasm`"
        ));
    };
    if usize::try_from(layer.size).is_ok_and(|size| size <= MODULE_BYTES_MAX) {
        return Ok(layer);
    }
    Err(format!(
        "the module has {} bytes, and may have {MODULE_BYTES_MAX}",
        layer.size
    ))
}

/// Docker's configuration, as Secrets of type `kubernetes.io/dockerconfigjson` hold it.
#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, DockerAuth>,
}

#[derive(Deserialize)]
struct DockerAuth {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    /// Base64 of `username:password`, in the place of both.
    #[serde(default)]
    auth: String,
}

impl DockerAuth {
    fn basic(&self) -> Option<RegistryAuth> {
        use base64::Engine as _;
        if !self.username.is_empty() {
            let (username, password) = (self.username.clone(), self.password.clone());
            return Some(RegistryAuth::Basic(username, password));
        }
        let decoded = base64::engine::general_purpose::STANDARD
            .decode(&self.auth)
            .ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(RegistryAuth::Basic(
            username.to_owned(),
            password.to_owned(),
        ))
    }
}

/// What opens `registry`, of the Secrets in `folder`, one folder each.
async fn credentials_of(folder: &Path, registry: &str) -> Result<RegistryAuth, String> {
    let unread = |error: std::io::Error| format!("failed to read {}: {error}", folder.display());
    let mut secrets = tokio::fs::read_dir(folder).await.map_err(unread)?;
    let mut files = Vec::new();
    while let Some(secret) = secrets.next_entry().await.map_err(unread)? {
        files.push(secret.path().join(".dockerconfigjson"));
    }
    // Of two that open it, always the same.
    files.sort();
    for file in files {
        // A Secret that was named and does not exist is an empty folder.
        let Ok(text) = tokio::fs::read(&file).await else {
            continue;
        };
        let config: DockerConfig = serde_json::from_slice(&text)
            .map_err(|error| format!("{} is no Docker configuration: {error}", file.display()))?;
        let is_of_registry = |name: &str| host_of(name) == registry;
        let found = config.auths.iter().find(|(name, _)| is_of_registry(name));
        if let Some((_, auth)) = found {
            return auth
                .basic()
                .ok_or_else(|| format!("{} has no user name for {registry}", file.display()));
        }
    }
    Ok(RegistryAuth::Anonymous)
}

/// Docker writes registries as hosts, and its own as an address with a path.
fn host_of(name: &str) -> &str {
    let name = name.strip_prefix("https://").unwrap_or(name);
    let name = name.strip_prefix("http://").unwrap_or(name);
    name.split('/').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use oci_client::manifest::OciDescriptor;

    use super::*;

    fn manifest(layers: &[(&str, i64)]) -> OciImageManifest {
        let layers = layers.iter().map(|(media_type, size)| OciDescriptor {
            media_type: (*media_type).to_owned(),
            size: *size,
            ..OciDescriptor::default()
        });
        OciImageManifest {
            layers: layers.collect(),
            ..OciImageManifest::default()
        }
    }

    #[test]
    fn an_artifact_holds_one_module_that_is_not_too_large() {
        let readme = ("text/markdown", 10);
        let module = ("application/wasm", 100);
        assert_eq!(
            module_layer(&manifest(&[readme, module])).unwrap().size,
            100
        );

        let refused = |layers: &[(&str, i64)]| module_layer(&manifest(layers)).unwrap_err();
        assert!(refused(&[readme]).contains("oras push"));
        assert!(refused(&[module, module]).contains("one layer"));
        let large = ("application/wasm", 1 << 40);
        assert!(refused(&[large]).contains("may have"));
        assert!(refused(&[("application/wasm", -1)]).contains("may have"));
    }

    #[tokio::test]
    async fn a_registry_that_sends_without_end_is_not_listened_to() {
        let endless = || futures::stream::repeat_with(|| Ok(Bytes::from_static(b"0123456789")));

        assert!(
            collected(endless(), 1000)
                .await
                .unwrap_err()
                .contains("1000")
        );
        let whole = collected(endless().take(100), 1000).await.unwrap();
        assert_eq!(whole.len(), 1000);
        let broken = futures::stream::iter([Err(std::io::Error::other("wrong digest"))]);
        assert_eq!(collected(broken, 1000).await.unwrap_err(), "wrong digest");
    }

    #[tokio::test]
    async fn credentials_are_found_as_docker_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let write = |secret: &str, text: &str| {
            let secret = folder.path().join(secret);
            std::fs::create_dir_all(&secret).unwrap();
            std::fs::write(secret.join(".dockerconfigjson"), text).unwrap();
        };
        std::fs::create_dir_all(folder.path().join("absent")).unwrap();
        write(
            "one",
            r#"{"auths": {"example.com:5000": {"username": "me", "password": "p"}}}"#,
        );
        // you:q
        write(
            "two",
            r#"{"auths": {"https://hub.example/v1/": {"auth": "eW91OnE="}}}"#,
        );
        let found = |registry: &'static str| credentials_of(folder.path(), registry);

        let basic =
            |user: &str, password: &str| RegistryAuth::Basic(user.to_owned(), password.to_owned());
        assert_eq!(found("example.com:5000").await, Ok(basic("me", "p")));
        assert_eq!(found("hub.example").await, Ok(basic("you", "q")));
        assert_eq!(found("other.example").await, Ok(RegistryAuth::Anonymous));

        write("zzz", "nonsense");
        let error = found("other.example").await.unwrap_err();
        assert!(error.contains("zzz"), "{error}");
    }
}
