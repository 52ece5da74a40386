//! The sled store passes the suite, and opens only what it can trust.

use async_trait::async_trait;
use futures::StreamExt;
use tempfile::TempDir;

use super::*;
use crate::WatchEvent;
use crate::conformance::{StoreUnderTest, every_rule};

struct Opened {
    directory: TempDir,
    store: Option<SledStore>,
}

#[async_trait]
impl StoreUnderTest for Opened {
    fn store(&self) -> Arc<dyn MetadataStore> {
        Arc::new(self.store.clone().unwrap())
    }

    async fn reopen(&mut self) {
        self.store = None;
        self.store = Some(open(self.directory.path()).await.unwrap());
    }
}

async fn open(directory: &Path) -> Result<SledStore, OpenError> {
    SledStore::open(directory, SledOptions::default()).await
}

async fn fresh() -> Opened {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    Opened {
        directory,
        store: Some(store),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_every_rule_of_a_metadata_store() {
    every_rule(fresh).await;
}

#[tokio::test]
async fn a_directory_that_is_in_use_is_refused() {
    let first = fresh().await;

    let error = open(first.directory.path()).await.unwrap_err();

    assert!(matches!(error, OpenError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another SC"));
}

#[tokio::test]
async fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let identity = r#"{"formatVersion": 2, "cluster": {"what": "ever"}}"#;
    std::fs::write(directory.path().join("sc.json"), identity).unwrap();

    let error = open(directory.path()).await.unwrap_err();

    assert!(matches!(
        error,
        OpenError::Newer {
            found: 2,
            known: 1,
            ..
        }
    ));
    let kept = std::fs::read_to_string(directory.path().join("sc.json")).unwrap();
    assert_eq!(kept, identity);
    assert!(!directory.path().join("metadata").exists());
}

#[tokio::test]
async fn an_identity_that_cannot_be_read_is_damage() {
    let mut opened = fresh().await;
    opened.store = None;
    std::fs::write(opened.directory.path().join("sc.json"), "{").unwrap();

    let error = open(opened.directory.path()).await.unwrap_err();

    assert!(matches!(error, OpenError::Corrupt { .. }), "{error}");
}

#[tokio::test]
async fn rows_that_are_gone_are_damage_and_not_an_empty_cluster() {
    let mut opened = fresh().await;
    opened.store = None;
    std::fs::remove_dir_all(opened.directory.path().join("metadata")).unwrap();

    let error = open(opened.directory.path()).await.unwrap_err();

    assert!(error.to_string().contains("are gone"), "{error}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_damage_and_named() {
    let mut opened = fresh().await;
    opened.store = None;
    let engine = open_sled(opened.directory.path(), &SledOptions::default()).unwrap();
    engine.insert("row/topic/t", "not json").unwrap();
    engine.flush().unwrap();
    drop(engine);

    let error = open(opened.directory.path()).await.unwrap_err();

    assert!(error.to_string().contains("row/topic/t"), "{error}");
}

#[tokio::test]
async fn overwritten_rows_are_damage_and_no_panic() {
    let mut opened = fresh().await;
    opened.store = None;
    let metadata = opened.directory.path().join("metadata");
    std::fs::write(metadata.join("db"), vec![0xA5; 64 << 10]).unwrap();
    std::fs::write(metadata.join("conf"), "segment_size: many").unwrap();

    let error = open(opened.directory.path()).await.unwrap_err();

    assert!(
        matches!(error, OpenError::Corrupt { .. } | OpenError::Io { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn an_identity_that_a_crash_kept_from_being_written_is_taken_from_the_rows() {
    let mut opened = fresh().await;
    let cluster_id = opened.store().cluster_id();
    opened.store = None;
    std::fs::remove_file(opened.directory.path().join("sc.json")).unwrap();

    opened.reopen().await;

    assert_eq!(opened.store().cluster_id(), cluster_id);
    assert!(opened.directory.path().join("sc.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_failure_the_next_write_opens_it_afresh_and_watchers_hear_what_it_holds() {
    let opened = fresh().await;
    let store = opened.store();
    let mut watch = store.watch().await.unwrap();
    watch.next().await.unwrap();
    let first = store.take(Counter::ProducerId, 1).await.unwrap();

    // What a failed write leaves behind.
    *opened.store.as_ref().unwrap().shared.engine() = None;
    let second = store.take(Counter::ProducerId, 1).await.unwrap();

    assert_eq!(second, first + 1);
    assert_eq!(watch.next().await, Some(WatchEvent::Snapshot(Vec::new())));
}

#[test]
fn a_full_disk_is_told_with_the_next_step() {
    let full = || io::Error::from(io::ErrorKind::StorageFull);
    let opening = OpenError::io(Path::new("/data"), full());

    for error in [
        failed(sled::Error::Io(full()).into()),
        failed(opening.into()),
    ] {
        let said = error.to_string();
        assert!(said.contains("no storage space"), "{said}");
        assert!(said.contains("make room on the SC's disk"), "{said}");
    }
}

#[test]
fn the_examples_of_the_format_page_are_rows() {
    let page = include_str!("../../../docs/formats/sc-data-directory.md");
    let examples = page.split("```json\n").skip(1);
    let examples: Vec<_> = examples
        .filter_map(|rest| rest.split("```").next())
        .collect();

    let mut keys = Vec::new();
    for example in &examples[1..] {
        let row: Resource = serde_json::from_str(example).unwrap();
        let written: serde_json::Value = serde_json::to_value(&row).unwrap();
        assert_eq!(
            written,
            serde_json::from_str::<serde_json::Value>(example).unwrap()
        );
        keys.push(row.key().to_string());
    }

    let expected = [
        "partition `flights-3`",
        "topic `flights`",
        "SPU 2",
        "SmartModule `late`",
        "transform `late-flights`",
    ];
    assert_eq!(keys, expected);
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("sc.json"), examples[0]).unwrap();
    let identity = directory::read_identity(directory.path()).unwrap().unwrap();
    assert_eq!(identity.to_string(), "5f64ae2b-5a3c-4d3b-9d4e-31f4a3e9b1aa");
}
