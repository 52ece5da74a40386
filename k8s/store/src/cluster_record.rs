//! What belongs to the cluster and is no row: its id, and the numbers that are given out once. A ConfigMap,
//! changed by compare-and-set; it stays as long as the namespace, as the data in the volume claims does.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, ObjectMeta, PostParams};
use thalweg_metadata::Counter;
use thalweg_types::ClusterId;
use uuid::Uuid;

use crate::requests::{FIELD_MANAGER, RequestError, in_time};

/// The name of the ConfigMap.
pub const RECORD_NAME: &str = "thalweg-metadata";

const FORMAT: &str = "formatVersion";
const FORMAT_VERSION: &str = "1";
const CLUSTER_ID: &str = "clusterId";

/// The record of one namespace.
#[derive(Debug, Clone)]
pub(crate) struct ClusterRecord {
    api: Api<ConfigMap>,
}

impl ClusterRecord {
    pub(crate) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// The cluster's id; a new one where the namespace has none yet.
    pub(crate) async fn cluster_id(&self) -> Result<ClusterId, RequestError> {
        let record = match in_time(self.api.get_opt(RECORD_NAME)).await? {
            Some(record) => record,
            None => match in_time(self.api.create(&parameters(), &fresh())).await {
                Ok(made) => {
                    tracing::info!(name = RECORD_NAME, "made a new cluster");
                    made
                }
                // Another SC was first.
                Err(RequestError::AlreadyExists) => in_time(self.api.get(RECORD_NAME)).await?,
                Err(error) => return Err(error),
            },
        };
        let data = record.data.unwrap_or_default();
        let format = data.get(FORMAT).map(String::as_str);
        if format != Some(FORMAT_VERSION) {
            let found = format.unwrap_or("none");
            return Err(damaged(format!(
                "{FORMAT} is {found}, this version knows {FORMAT_VERSION}; upgrade"
            )));
        }
        let id = data.get(CLUSTER_ID).and_then(|id| id.parse().ok());
        id.ok_or_else(|| damaged(format!("{CLUSTER_ID} is no UUID; restore it from a backup, or from `spu.json` of any SPU's data directory")))
    }

    /// Takes `count` numbers that nobody else gets; the first of them.
    pub(crate) async fn take(&self, counter: Counter, count: u32) -> Result<u64, RequestError> {
        let key = key_of(counter);
        loop {
            let mut record = in_time(self.api.get(RECORD_NAME)).await?;
            let data = record.data.get_or_insert_default();
            let last: u64 = match data.get(key) {
                None => 0,
                Some(text) => text
                    .parse()
                    .map_err(|_| damaged(format!("{key} is no number")))?,
            };
            data.insert(key.to_owned(), (last + u64::from(count)).to_string());
            match in_time(self.api.replace(RECORD_NAME, &parameters(), &record)).await {
                Ok(_) => return Ok(last + 1),
                Err(RequestError::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn key_of(counter: Counter) -> &'static str {
    match counter {
        Counter::ControllerEpoch => "controllerEpoch",
        Counter::ProducerId => "producerId",
    }
}

fn fresh() -> ConfigMap {
    let entries = [
        (FORMAT, FORMAT_VERSION.to_owned()),
        (CLUSTER_ID, Uuid::new_v4().to_string()),
    ];
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(RECORD_NAME.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from(
            entries.map(|(key, value)| (key.to_owned(), value)),
        )),
        ..ConfigMap::default()
    }
}

fn parameters() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn damaged(reason: String) -> RequestError {
    RequestError::Denied(format!("ConfigMap `{RECORD_NAME}` can't be used: {reason}"))
}
