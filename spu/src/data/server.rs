//! Accepts connections, and refuses those that are too many.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use thalweg_runtime::net::{Stream, TcpListener, TcpStream};
use thalweg_runtime::{CancellationToken, TaskGroup};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{Instrument, debug, error, info, info_span, warn};

use super::connection::{Connection, Shared};
use crate::context::SpuContext;

/// How long to wait after the system gave no connection, for example for want of file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The data protocol's server.
#[derive(Debug)]
pub struct DataServer;

impl DataServer {
    /// Starts to serve `listener`, which is bound to `address`, in `tasks`, until the group is
    /// stopped.
    ///
    /// No failure of a connection stops more than that connection.
    pub fn serve(
        listener: TcpListener,
        address: SocketAddr,
        context: SpuContext,
        tasks: &TaskGroup,
    ) {
        let connections = tasks.clone();
        tasks.spawn("data-server", |shutdown| async move {
            let shared = Arc::new(Shared::new(context, address, shutdown.clone()));
            let free = Arc::new(Semaphore::new(
                shared
                    .context
                    .options
                    .connections_max
                    .min(Semaphore::MAX_PERMITS),
            ));
            loop {
                let accepted = tokio::select! {
                    () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((socket, peer)) => match Arc::clone(&free).try_acquire_owned() {
                        Ok(permit) => {
                            let span = info_span!("connection", %peer);
                            let shared = Arc::clone(&shared);
                            connections.spawn("connection", |shutdown| {
                                serve_one(socket, shared, shutdown, permit).instrument(span)
                            });
                        }
                        Err(_) => warn!(
                            %peer,
                            connections_max = shared.context.options.connections_max,
                            "refusing a connection: there are as many as allowed"
                        ),
                    },
                    Err(error) => {
                        warn!(%error, "failed to accept a connection");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }
}

/// The connection under TLS, where that is spoken here.
async fn agree(socket: TcpStream, shared: &Shared) -> io::Result<Stream> {
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, "answers may be late: failed to set TCP_NODELAY");
    }
    match &shared.context.tls {
        // Apart, as it is large, and the task stays as long as the connection.
        Some(tls) => Box::pin(tls.accept(socket)).await,
        None => Ok(Stream::Plain(socket)),
    }
}

async fn serve_one(
    socket: TcpStream,
    shared: Arc<Shared>,
    shutdown: CancellationToken,
    permit: OwnedSemaphorePermit,
) -> Result<(), Infallible> {
    let stream = tokio::select! {
        () = shutdown.cancelled() => return Ok(()),
        agreed = agree(socket, &shared) => match agreed {
            Ok(stream) => stream,
            Err(error) => {
                // Who only looks whether somebody listens hangs up at once.
                if error.kind() == io::ErrorKind::UnexpectedEof {
                    debug!(%error, "a connection ended before TLS was agreed on");
                } else {
                    info!(%error, "refusing a connection: no agreement on TLS");
                }
                return Ok(());
            }
        },
    };
    let serving = Connection::new(stream, shared).serve(shutdown);
    // A bug that one request brings out must not end the process that serves all others.
    match AssertUnwindSafe(serving).catch_unwind().await {
        Ok(Ok(())) => debug!("connection ended"),
        Ok(Err(error)) if error.is_worth_a_warning() => warn!(%error, "connection closed"),
        Ok(Err(error)) => debug!(%error, "connection closed"),
        Err(_) => error!("connection closed by a panic, which is a bug"),
    }
    drop(permit);
    Ok(())
}
