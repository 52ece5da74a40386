//! The host of one SPU: its disk, its clock, and the process that runs on it, one after the other.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use clap::Parser;
use thalweg_runtime::TaskGroup;
use thalweg_spu::{Machine, Spu, SpuContext, SpuOptions};
use thalweg_storage::{StorageThreads, ThreadOptions};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::clock::HostClock;
use crate::disk::Disk;
use crate::guest_work::{GuestPace, Guests};
use crate::storage_work::{DiskPace, Driver};

/// Where SPUs listen.
pub(crate) const DATA_PORT: u16 = 9092;
/// How long a host waits before it starts a process again that has ended by itself.
const RESTART_PAUSE: Duration = Duration::from_millis(500);

/// One SPU's host.
pub(crate) struct SpuHost {
    id: i32,
    data_dir: PathBuf,
    /// What its logs are on.
    pub(crate) disk: Arc<Disk>,
    /// How fast that is.
    pub(crate) pace: Arc<DiskPace>,
    /// What its process takes for the time.
    pub(crate) clock: Arc<HostClock>,
    guest_pace: Arc<GuestPace>,
    running: Mutex<Running>,
}

#[derive(Default)]
struct Running {
    /// Asks the process to end.
    stop: Arc<Notify>,
    /// Of the process, once it serves.
    context: Option<SpuContext>,
    /// What processes ended with that nobody asked to end.
    failures: Vec<String>,
}

impl SpuHost {
    /// A host with an empty disk.
    #[must_use]
    pub(crate) fn new(id: i32, seed: u64, lying_disk: bool) -> Arc<Self> {
        let seed = seed ^ (u64::try_from(id).unwrap_or(0) << 32);
        Arc::new(Self {
            id,
            data_dir: PathBuf::from(format!("spu-{id}")),
            disk: Disk::new(seed, lying_disk),
            pace: DiskPace::new(seed),
            clock: Arc::default(),
            guest_pace: GuestPace::new(seed),
            running: Mutex::default(),
        })
    }

    /// The SPU's number.
    #[must_use]
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// What the network calls it.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        format!("spu-{}", self.id)
    }

    /// Where its files are.
    #[must_use]
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The parts of the process that serves now.
    #[must_use]
    pub(crate) fn serving(&self) -> Option<SpuContext> {
        self.lock().context.clone()
    }

    /// What processes ended with that nobody asked to end.
    #[must_use]
    pub(crate) fn failures(&self) -> Vec<String> {
        self.lock().failures.clone()
    }

    /// Asks the process to end, as SIGTERM does.
    pub(crate) fn ask_to_stop(&self) {
        self.lock().stop.notify_one();
    }

    /// Notes that the process is killed: what it still does has no effect.
    pub(crate) fn killed(&self) {
        self.disk.detach();
        self.lock().context = None;
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().expect("nothing panics with it")
    }

    /// Runs a process until it is asked to stop. One that ends by itself is started again.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            match self.run_once().await {
                Ok(()) => return,
                Err(reason) => {
                    warn!(spu = self.id, reason, "the process ended by itself");
                    self.disk.detach();
                    self.lock().context = None;
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
            }
        }
    }

    async fn run_once(&self) -> Result<(), String> {
        let stop = Arc::new(Notify::new());
        self.lock().stop = Arc::clone(&stop);
        let machine_tasks = TaskGroup::new();
        let driver = Driver::start(&self.pace, &machine_tasks);
        let machine = Machine {
            files: Arc::new(self.disk.attach()),
            threads: StorageThreads::driven(ThreadOptions::default(), &driver),
            guests: Some(Guests::start(&self.guest_pace, &machine_tasks)),
        };
        let starting = Spu::start_on(self.options(), self.clock.clone(), machine);
        let spu = tokio::select! {
            spu = starting => spu.map_err(|error| error.to_string())?,
            // It waits for an SC.
            () = stop.notified() => return Ok(()),
        };
        self.lock().context = Some(spu.context().clone());
        info!(spu = self.id, "the process serves");
        tokio::select! {
            () = stop.notified() => {}
            failed = spu.failed() => {
                let reason = failed.to_string();
                self.lock().failures.push(reason.clone());
                return Err(reason);
            }
        }
        spu.stop().await;
        self.lock().context = None;
        self.disk.detach();
        Ok(())
    }

    fn options(&self) -> SpuOptions {
        SpuOptions::parse_from([
            "thalweg-spu".to_owned(),
            format!("--id={}", self.id),
            format!("--sc={}", crate::sc_host::ADDRESS),
            format!("--listen=0.0.0.0:{DATA_PORT}"),
            format!("--advertise={}:{DATA_PORT}", self.name()),
            format!("--data-dir={}", self.data_dir.display()),
            // A thread of its own, which no seed rules.
            "--compaction-bytes-per-second=0".to_owned(),
        ])
    }
}
