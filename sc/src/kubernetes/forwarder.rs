//! What an SC does with connections while it stands by: it passes them on, byte by byte, to the SC that
//! leads. So a Service may point at all SCs, and clients and SPUs need not know who leads.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use thalweg_k8s_store::Leader;
use thalweg_runtime::net::{TcpListener, TcpStream};
use thalweg_runtime::{Backoff, BackoffOptions, TaskGroup};
use tokio::sync::{Semaphore, watch};
use tracing::{debug, warn};

use crate::ScOptions;
use crate::server::StartError;

/// How long the leader may take to accept a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);

/// The port of this SC while it stands by.
#[derive(Debug)]
pub(super) struct Forwarder {
    listener: TcpListener,
    address: SocketAddr,
    connections_max: usize,
}

impl Forwarder {
    pub(super) async fn bind(options: &ScOptions) -> Result<Self, StartError> {
        let listening = |source| StartError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(listening)?;
        let address = listener.local_addr().map_err(listening)?;
        Ok(Self {
            listener,
            address,
            connections_max: options.connections_max as usize,
        })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes connections on to whoever leads when they come. Stopping the group closes the port and the
    /// connections, whose clients connect again.
    pub(super) fn start(self, leader: watch::Receiver<Option<Leader>>) -> TaskGroup {
        let tasks = TaskGroup::new();
        let connections = tasks.clone();
        tasks.spawn("forwarder", |shutdown| async move {
            let free = Arc::new(Semaphore::new(self.connections_max));
            let mut backoff = Backoff::new(BackoffOptions::default());
            loop {
                let accepted = tokio::select! {
                    () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                    accepted = self.listener.accept() => accepted,
                };
                let stream = match accepted {
                    Ok((stream, _)) => stream,
                    Err(error) => {
                        warn!(%error, "failed to accept a connection");
                        backoff.wait(&shutdown).await;
                        continue;
                    }
                };
                backoff.reset();
                let to = leader
                    .borrow()
                    .clone()
                    .filter(|leader| !leader.address.is_empty());
                let (Some(to), Ok(place)) = (to, Arc::clone(&free).try_acquire_owned()) else {
                    debug!(
                        "closing a connection: nobody leads yet, or there are as many as allowed"
                    );
                    continue;
                };
                connections.spawn("forwarded", |shutdown| async move {
                    let _place = place;
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        passed = pass_on(stream, &to.address) => {
                            if let Err(error) = passed {
                                debug!(%error, leader = to.address, "a forwarded connection ended");
                            }
                        }
                    }
                    Ok::<_, Infallible>(())
                });
            }
        });
        tasks
    }
}

async fn pass_on(mut client: TcpStream, leader: &str) -> io::Result<()> {
    let connecting = tokio::time::timeout(CONNECT_WAIT_MAX, TcpStream::connect(leader));
    let mut leader = connecting.await??;
    client.set_nodelay(true)?;
    leader.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut client, &mut leader).await?;
    Ok(())
}
