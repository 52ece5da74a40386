//! `cluster.json` in the data directory: the last view of the cluster, so that this SPU serves
//! without an SC after a restart. `docs/formats/spu-state.md` specifies it.
//!
//! Written after the view is in force, by one task that skips views that were replaced meanwhile.
//! A file that is a little old costs nothing: leader epochs fence, and data is only ever removed
//! on an SC's live word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thalweg_runtime::CancellationToken;
use thalweg_types::resource::SmartModuleSpec;
use thalweg_types::{ClusterId, ControllerEpoch, ResourceName};
use tracing::warn;

use crate::atomic_file::write_atomically;
use crate::cluster_view::{ClusterView, SpuView, TopicView, TransformView, View};

const FILE_NAME: &str = "cluster.json";
const FORMAT_VERSION: u32 = 4;
/// Between two writes, so that a burst of changes costs few syncs.
const WRITE_PAUSE: Duration = Duration::from_millis(200);

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClusterFileError {
    /// It could not be read.
    #[error("failed to read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A later version of Thalweg wrote it.
    #[error(
        "`{path}` has format version {found}, and this version of Thalweg reads up to {FORMAT_VERSION}: upgrade it"
    )]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// It is not what this program wrote.
    #[error("`{path}` is damaged: remove it, the SC will tell this SPU again")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Only the version, so that a later format is recognised whatever else it holds.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// A view as it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    format_version: u32,
    cluster_id: ClusterId,
    controller_epoch: ControllerEpoch,
    spus: Vec<SpuView>,
    topics: Vec<TopicView>,
    /// Version 1 had none.
    #[serde(default)]
    smart_modules: BTreeMap<ResourceName, SmartModuleSpec>,
    /// Versions 1 to 3 had none.
    #[serde(default)]
    transforms: Vec<TransformView>,
}

/// Reads what the last run kept; `None` where it kept nothing.
pub(crate) fn load(data_dir: &Path) -> Result<Option<View>, ClusterFileError> {
    let path = data_dir.join(FILE_NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ClusterFileError::Read { path, source }),
    };
    let damaged = |source| ClusterFileError::Damaged {
        path: path.clone(),
        source,
    };
    let version: Version = serde_json::from_slice(&bytes).map_err(damaged)?;
    if version.format_version > FORMAT_VERSION {
        let found = version.format_version;
        return Err(ClusterFileError::NewerFormat { path, found });
    }
    let kept: Kept = serde_json::from_slice(&bytes).map_err(damaged)?;
    Ok(Some(View::from(kept)))
}

/// Writes each new view of `cluster` into `data_dir`, and the last one at the shutdown.
pub(crate) async fn keep(
    data_dir: PathBuf,
    cluster: Arc<ClusterView>,
    shutdown: CancellationToken,
) {
    let path = data_dir.join(FILE_NAME);
    let mut kept = cluster.current();
    loop {
        let stopping = tokio::select! {
            () = shutdown.cancelled() => true,
            _newer = cluster.changed_from(&kept) => false,
        };
        let newest = cluster.current();
        if *newest != *kept {
            write(&path, &newest).await;
        }
        kept = newest;
        if stopping {
            return;
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(WRITE_PAUSE) => {}
        }
    }
}

async fn write(path: &Path, view: &View) {
    let Some(kept) = Kept::of(view) else { return };
    let bytes = serde_json::to_vec(&kept).expect("names and numbers can be written as JSON");
    // Serving goes on: what is lost is only that a restart without an SC sees an older view.
    if let Err(error) = write_atomically(path.to_owned(), bytes).await {
        warn!(path = %path.display(), %error, "failed to keep the cluster's metadata");
    }
}

impl Kept {
    /// Nothing is kept before the cluster is known.
    fn of(view: &View) -> Option<Self> {
        Some(Self {
            format_version: FORMAT_VERSION,
            cluster_id: view.cluster_id?,
            controller_epoch: view.controller_epoch,
            spus: view.spus.values().cloned().collect(),
            topics: view
                .topics
                .values()
                .map(|topic| (**topic).clone())
                .collect(),
            smart_modules: view
                .smart_modules
                .iter()
                .map(|(name, spec)| (name.clone(), (**spec).clone()))
                .collect(),
            transforms: view
                .transforms
                .values()
                .map(|transform| (**transform).clone())
                .collect(),
        })
    }
}

impl From<Kept> for View {
    fn from(kept: Kept) -> Self {
        let mut view = Self {
            cluster_id: Some(kept.cluster_id),
            controller_epoch: kept.controller_epoch,
            smart_modules: kept
                .smart_modules
                .into_iter()
                .map(|(name, spec)| (name, Arc::new(spec)))
                .collect(),
            transforms: kept
                .transforms
                .into_iter()
                .map(|transform| (transform.name.clone(), Arc::new(transform)))
                .collect(),
            ..Self::default()
        };
        for spu in kept.spus {
            view.spus.insert(spu.id, spu);
        }
        for topic in kept.topics {
            view.topic_names.insert(topic.id, topic.name.clone());
            view.topics.insert(topic.name.clone(), Arc::new(topic));
        }
        view
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{
        ModuleRevision, OutputPartitioning, SmartModuleKind, StartPosition, TransformNumber,
        TransformSpec, TransformState,
    };
    use thalweg_types::{
        ChainSpec, CompressionPolicy, LeaderEpoch, Offset, OnError, PartitionEpoch, PartitionIndex,
        SpuId, StepSpec, TopicConfig, TopicId, TopicName,
    };
    use uuid::Uuid;

    use super::*;
    use crate::cluster_view::PartitionView;

    fn view() -> View {
        let topic = TopicId(Uuid::from_u128(7));
        let mut view = View {
            cluster_id: Some(ClusterId(Uuid::from_u128(1))),
            controller_epoch: ControllerEpoch(3),
            ..View::default()
        };
        let mut config = TopicConfig::default();
        config.set("durability", "memory").unwrap();
        let step = StepSpec {
            uses: "late@1.2.0".parse().unwrap(),
            with: [("minutes".to_owned(), "60".to_owned())].into(),
            look_back: None,
            on_error: OnError::Skip,
            aggregate: None,
        };
        let chain = ChainSpec { steps: vec![step] };
        let transform = TransformView {
            name: "late-orders".parse().unwrap(),
            number: TransformNumber(12),
            backfill_number: None,
            spec: TransformSpec {
                inputs: vec![TopicName::new("orders").unwrap()],
                outputs: vec![TopicName::new("late-orders").unwrap()],
                chain: chain.clone(),
                start: StartPosition::Beginning,
                partitioning: OutputPartitioning::Key,
                compression: CompressionPolicy::Producer,
                dedup: None,
                tables: Vec::new(),
                capabilities: thalweg_types::Capabilities::default(),
                canary: None,
                backfill: None,
                paused: false,
            },
            state: TransformState::Running,
        };
        view.transforms
            .insert(transform.name.clone(), Arc::new(transform));
        view.upsert_topic(TopicName::new("orders").unwrap(), topic, config, chain, 1);
        view.upsert_partition(
            topic,
            PartitionIndex(0),
            PartitionView {
                leader: Some(SpuId(0)),
                leader_epoch: LeaderEpoch(4),
                partition_epoch: PartitionEpoch(5),
                replicas: vec![SpuId(0), SpuId(1)],
                isr: vec![SpuId(0)],
            },
        );
        let spu = SpuView {
            id: SpuId(0),
            host: "localhost".to_owned(),
            port: 9092,
            rack: String::new(),
            online: true,
        };
        view.spus.insert(spu.id, spu);
        let revision = ModuleRevision {
            version: "1.2.0".parse().unwrap(),
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".to_owned(),
            kind: SmartModuleKind::Filter,
            size_bytes: 21_345,
            description: String::new(),
            params: Vec::new(),
            looks_back: false,
            offset: Offset(7),
            created_ms: 1_700_000_000_000,
        };
        let late = SmartModuleSpec {
            current: revision.version.clone(),
            revisions: vec![revision],
            leaving: false,
        };
        view.smart_modules
            .insert("late".parse().unwrap(), Arc::new(late));
        view
    }

    #[tokio::test]
    async fn a_view_is_kept_at_the_shutdown_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Arc::new(ClusterView::new(View::default()));
        let shutdown = CancellationToken::new();
        let keeping = keep(
            dir.path().to_owned(),
            Arc::clone(&cluster),
            shutdown.clone(),
        );
        let publishing = async {
            cluster.publish(view());
            shutdown.cancel();
        };

        tokio::join!(keeping, publishing);

        assert_eq!(load(dir.path()).unwrap(), Some(view()));
    }

    #[test]
    fn the_documented_example_is_read() {
        let page = include_str!("../../docs/formats/spu-state.md");
        let example = page.split("```json\n").nth(1).unwrap();
        let example = example.split("```").next().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), example).unwrap();

        assert_eq!(load(dir.path()).unwrap(), Some(view()));
    }

    #[test]
    fn a_file_of_before_there_were_transforms_has_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut kept = serde_json::to_value(Kept::of(&view()).unwrap()).unwrap();
        kept["format_version"] = 3.into();
        kept.as_object_mut().unwrap().remove("transforms");
        std::fs::write(dir.path().join(FILE_NAME), kept.to_string()).unwrap();

        let loaded = load(dir.path()).unwrap().unwrap();

        assert_eq!(loaded.topics, view().topics);
        assert!(loaded.transforms.is_empty());
    }

    #[test]
    fn a_new_directory_has_kept_nothing() {
        let dir = tempfile::tempdir().unwrap();

        assert_eq!(load(dir.path()).unwrap(), None);
    }

    #[test]
    fn damaged_and_newer_files_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE_NAME), "{\"format_version\":1}").unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(matches!(error, ClusterFileError::Damaged { .. }));
        assert!(error.to_string().contains(FILE_NAME));

        std::fs::write(dir.path().join(FILE_NAME), "{\"format_version\":5,\"x\":1}").unwrap();
        let error = load(dir.path()).unwrap_err();
        assert!(matches!(
            error,
            ClusterFileError::NewerFormat { found: 5, .. }
        ));
    }
}
