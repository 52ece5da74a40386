//! SmartModules whose object says where their bytes come from, and which are not registered yet.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::core::DynamicObject;
use serde_json::Value;
use thalweg_types::resource::ResourceKind;
use thalweg_types::{ModuleVersion, ResourceName};

use crate::mirror::Chore;
use crate::requests::{RequestError, in_time};
use crate::store::KubernetesStore;

/// A version that is to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedModule {
    /// The module's name.
    pub name: ResourceName,
    /// The version that the bytes are to be registered as.
    pub version: ModuleVersion,
    /// What it is for.
    pub description: String,
    /// Where they are.
    pub source: ModuleSource,
}

/// Where the bytes of a version are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleSource {
    /// Under a key of a ConfigMap of the namespace.
    ConfigMap {
        /// Its name.
        name: String,
        /// The key, under `binaryData`.
        key: String,
    },
    /// In a registry.
    Oci {
        /// `registry/repository:tag`, or `@sha256:…` in the place of the tag.
        reference: String,
        /// Whether the registry has no TLS.
        plain_http: bool,
    },
}

impl ModuleSource {
    fn of(source: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        if let Some(oci) = source.get("oci") {
            return Some(Self::Oci {
                reference: text(&oci["reference"])?,
                plain_http: oci["plainHttp"].as_bool().unwrap_or_default(),
            });
        }
        let config_map = source.get("configMap")?;
        Some(Self::ConfigMap {
            name: text(&config_map["name"])?,
            key: text(&config_map["key"])?,
        })
    }
}

/// Why a SmartModule can't be registered, as its status says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRefused {
    /// One word in CamelCase, for programs.
    pub reason: &'static str,
    /// For people, with the next step.
    pub message: String,
}

impl WantedModule {
    /// What an object asks for that its status does not have.
    pub(crate) fn of(object: &DynamicObject) -> Option<Self> {
        let (spec, status) = (&object.data["spec"], &object.data["status"]);
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let version = text(&spec["version"])?;
        let mut revisions = status["revisions"].as_array().into_iter().flatten();
        let is_registered = revisions.any(|one| one["version"] == version.as_str());
        if is_registered || object.metadata.deletion_timestamp.is_some() {
            return None;
        }
        Some(Self {
            name: object.metadata.name.as_deref()?.parse().ok()?,
            version: version.parse().ok()?,
            description: text(&spec["description"]).unwrap_or_default(),
            source: ModuleSource::of(&spec["source"])?,
        })
    }
}

impl KubernetesStore {
    /// The versions that are to be registered.
    #[must_use]
    pub fn wanted_modules(&self) -> Vec<WantedModule> {
        self.core().wanted_modules()
    }

    /// Waits until [`Self::wanted_modules`] may have changed. Cancel-safe.
    pub async fn wanted_changed(&self) {
        self.core().wants.notified().await;
    }

    /// What the namespace's ConfigMap `config_map` has under `key`.
    ///
    /// # Errors
    /// When it, or the key in it, is not there, or the API server does not answer.
    pub async fn config_map_bytes(
        &self,
        config_map: &str,
        key: &str,
    ) -> Result<Vec<u8>, SourceRefused> {
        let requests = &self.core().requests;
        let api: Api<ConfigMap> = Api::namespaced(requests.client(), requests.namespace());
        let found = in_time(api.get(config_map)).await.map_err(|error| {
            let reason = match error {
                RequestError::NotFound => "ConfigMapNotFound",
                _ => "ConfigMapNotRead",
            };
            SourceRefused {
                reason,
                message: format!("ConfigMap `{config_map}`: {error}"),
            }
        })?;
        let mut bytes = found.binary_data.unwrap_or_default();
        let bytes = bytes.remove(key).ok_or_else(|| SourceRefused {
            reason: "KeyNotFound",
            message: format!(
                "ConfigMap `{config_map}` has no `{key}` under binaryData; make it by `kubectl create configmap {config_map} --from-file={key}=module.wasm`"
            ),
        })?;
        Ok(bytes.0)
    }

    /// Says in the status of a SmartModule why it is not registered. Said once.
    ///
    /// # Errors
    /// When it can't be written.
    pub async fn refuse_module(
        &self,
        wanted: &WantedModule,
        refused: &SourceRefused,
    ) -> Result<(), RequestError> {
        let name = thalweg_k8s_crd::row_object_name(wanted.name.as_str());
        let place = (ResourceKind::SmartModule, name);
        if self.core().has_said(&place, refused) {
            return Ok(());
        }
        let SourceRefused { reason, message } = refused.clone();
        let chore = (place, Chore::Refuse { reason, message });
        let outcomes = self.core().do_chores(vec![chore]).await;
        outcomes.into_iter().try_for_each(|(_, outcome)| outcome)
    }
}
