//! What a start takes and waits for before its parts are put together: the data directory, ports, and who this SPU
//! is.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thalweg_runtime::net::TcpListener;
use thalweg_runtime::{Clock, TaskGroup};
use thalweg_storage::{DataDir, DataDirError, OpenDataDir};
use thalweg_types::SpuId;
use tokio::sync::watch;

use super::StartError;
use crate::advertised::Advertised;
use crate::control::Identity;
use crate::health::Health;
use crate::incarnation;
use crate::metrics::{self, Metrics};
use crate::mounted_file::{MountedFile, MountedFileError};
use crate::options::SpuOptions;

/// How long a data directory may be held by an SPU that was killed: the system takes a moment to end a process.
const LOCK_PATIENCE: Duration = Duration::from_secs(3);
/// How often to look whether it is free.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// Opens the data directory, as soon as whoever had it before is gone.
pub(super) async fn open_data_dir(path: &Path, spu_id: SpuId) -> Result<DataDir, DataDirError> {
    let mut waited = Duration::ZERO;
    loop {
        match DataDir::open(path, OpenDataDir { spu_id }) {
            Err(DataDirError::Locked { .. }) if waited < LOCK_PATIENCE => {
                tokio::time::sleep(LOCK_POLL).await;
                waited += LOCK_POLL;
            }
            opened => return opened,
        }
    }
}

pub(super) async fn listen(
    address: SocketAddr,
    flag: &'static str,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let listen_error = |source| StartError::Listen {
        address,
        flag,
        source,
    };
    let listener = TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    Ok((listener, bound))
}

/// Lets others watch this SPU where that is asked for, from now on: also what it waits for.
pub(super) async fn watched(
    options: &SpuOptions,
    metrics: &Arc<Metrics>,
    health: &Arc<Health>,
    tasks: &TaskGroup,
) -> Result<Option<SocketAddr>, StartError> {
    let Some(address) = options.metrics_listen else {
        return Ok(None);
    };
    let (listener, bound) = listen(address, "--metrics-listen").await?;
    metrics::serve(listener, Arc::clone(metrics), Arc::clone(health), tasks);
    Ok(Some(bound))
}

/// Waits until it is known where this SPU stands and how clients reach it. The answer follows the
/// latter.
pub(super) async fn find_place(
    options: &mut SpuOptions,
    bound: SocketAddr,
    health: &Health,
    tasks: &TaskGroup,
) -> Result<watch::Sender<String>, StartError> {
    let advertised = Advertised::of(options, bound)?;
    options.rack = rack(options, health).await?;
    if let Some(what) = advertised.waited_for() {
        health.waits_for(what);
    }
    let known = watch::Sender::new(advertised.wait().await?);
    advertised.follow(known.clone(), tasks);
    Ok(known)
}

/// Where this SPU stands.
async fn rack(options: &SpuOptions, health: &Health) -> Result<String, MountedFileError> {
    let Some(path) = &options.rack_file else {
        return Ok(options.rack.clone());
    };
    let file = MountedFile::new(path, "--rack-file");
    health.waits_for(file.waited_for());
    file.wait(|rack| Ok(Some(rack.to_owned()))).await
}

/// Who this SPU is to the SC, in a life that begins with this.
pub(super) fn identity(
    options: &SpuOptions,
    data_dir: &DataDir,
    clock: &dyn Clock,
    data_address: watch::Sender<String>,
) -> Result<Identity, StartError> {
    let life = incarnation::begin(data_dir.path(), clock).map_err(|source| StartError::System {
        action: "note this start in the data directory",
        source,
    })?;
    Ok(Identity {
        sc: options.sc.clone(),
        spu_id: options.id,
        life,
        data_address,
        rack: options.rack.clone(),
    })
}
