//! Disks that fail and fill up.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use thalweg_proto::v1::ReplicaState;
use thalweg_spu::replica::{ProduceError, ReplicaError};
use thalweg_storage::{AppendError, LogFile, LogFiles, OpenMode, StdFiles};

use crate::harness::{append, leader, options, start, start_on, try_leader, until, values};
use crate::scripted_sc::{Script, ScriptedSc};

/// The real file system, until the test breaks it.
#[derive(Default)]
struct FaultyFiles {
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    sync_fails: AtomicBool,
    full: AtomicBool,
}

struct FaultyFile {
    real: Arc<dyn LogFile>,
    faults: Arc<Faults>,
}

impl LogFiles for FaultyFiles {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn LogFile>> {
        Ok(Arc::new(FaultyFile {
            real: StdFiles.open(path, mode)?,
            faults: Arc::clone(&self.faults),
        }))
    }

    fn replace(&self, path: &Path, content: &[u8], sync: bool) -> io::Result<()> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        StdFiles.replace(path, content, sync)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        StdFiles.sync_folder(path)
    }
}

impl LogFile for FaultyFile {
    fn write_vectored_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        if self.faults.full.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.real.write_vectored_at(buffers, position)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.real.set_len(len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        if self.faults.sync_fails.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk lost a write"));
        }
        self.real.sync_data()
    }

    fn handle(&self) -> &Arc<std::fs::File> {
        self.real.handle()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_sync_ends_the_reign_and_is_reported() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 2, &[]);
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.faults);
    let spu = start_on(
        options(&sc.address.to_string(), dir.path()),
        Arc::new(files),
    )
    .await
    .unwrap();
    let replica = leader(&spu, "orders", 0).await;
    append(&replica, &["kept"]).await.unwrap();
    script.wait_for_report(0, ReplicaState::Serving).await;

    faults.sync_fails.store(true, Ordering::SeqCst);
    append(&replica, &["lost"]).await.unwrap_err();
    faults.sync_fails.store(false, Ordering::SeqCst);

    let reason = script.wait_for_report(0, ReplicaState::Failed).await;
    assert!(!reason.is_empty());
    let error = until("it stops leading", || try_leader(&spu, "orders", 0).err()).await;
    assert!(matches!(error, ReplicaError::Failed { .. }), "{error}");
    // The disk answers again, and still nothing is acknowledged on it.
    append(&replica, &["later"]).await.unwrap_err();
    // Other partitions are not concerned.
    append(&leader(&spu, "orders", 1).await, &["other"])
        .await
        .unwrap();
    spu.stop().await;

    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    assert_eq!(values(&replica)[0], "kept");
    append(&replica, &["after the restart"]).await.unwrap();
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_appends_serves_reads_and_heals_by_itself() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.faults);
    let spu = start_on(
        options(&sc.address.to_string(), dir.path()),
        Arc::new(files),
    )
    .await
    .unwrap();
    let replica = leader(&spu, "orders", 0).await;
    append(&replica, &["a"]).await.unwrap();

    faults.full.store(true, Ordering::SeqCst);
    let error = append(&replica, &["b"]).await.unwrap_err();

    let ProduceError::Append { source, .. } = &error else {
        panic!("{error}");
    };
    assert!(matches!(source, AppendError::DiskFull), "{source}");
    assert_eq!(values(&replica), ["a"]);
    script.wait_for_report(0, ReplicaState::ReadOnly).await;
    faults.full.store(false, Ordering::SeqCst);
    append(&replica, &["c"]).await.unwrap();
    assert_eq!(values(&replica), ["a", "c"]);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sc_hears_that_a_full_disk_has_room_again_though_nobody_appends() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.faults);
    let spu = start_on(
        options(&sc.address.to_string(), dir.path()),
        Arc::new(files),
    )
    .await
    .unwrap();
    let replica = leader(&spu, "orders", 0).await;
    faults.full.store(true, Ordering::SeqCst);
    append(&replica, &["a"]).await.unwrap_err();
    script.wait_for_report(0, ReplicaState::ReadOnly).await;

    faults.full.store(false, Ordering::SeqCst);

    script.wait_for_last_report(0, ReplicaState::Serving).await;
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_full_when_a_reign_begins_costs_no_reign_and_heals_by_itself() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.faults);
    let spu = start_on(
        options(&sc.address.to_string(), dir.path()),
        Arc::new(files),
    )
    .await
    .unwrap();
    append(&leader(&spu, "orders", 0).await, &["a"])
        .await
        .unwrap();

    faults.full.store(true, Ordering::SeqCst);
    script.elect("orders", 0, Some(crate::scripted_sc::SPU));
    script.wait_for_report(0, ReplicaState::ReadOnly).await;
    assert!(try_leader(&spu, "orders", 0).is_err());
    faults.full.store(false, Ordering::SeqCst);

    let replica = leader(&spu, "orders", 0).await;
    append(&replica, &["b"]).await.unwrap();
    assert_eq!(values(&replica), ["a", "b"]);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_failed_says_so_under_every_later_epoch() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.faults);
    let spu = start_on(
        options(&sc.address.to_string(), dir.path()),
        Arc::new(files),
    )
    .await
    .unwrap();
    let replica = leader(&spu, "orders", 0).await;
    faults.sync_fails.store(true, Ordering::SeqCst);
    append(&replica, &["lost"]).await.unwrap_err();
    faults.sync_fails.store(false, Ordering::SeqCst);
    script.wait_for_report(0, ReplicaState::Failed).await;

    // The SC takes the lead away, forgets why (as when it restarts), and gives it back.
    for (epoch, wanted) in [(2, None), (3, Some(crate::scripted_sc::SPU)), (4, None)] {
        script.elect("orders", 0, wanted);

        script
            .wait_for_report_of(0, epoch, ReplicaState::Failed)
            .await;
    }
    spu.stop().await;
}
