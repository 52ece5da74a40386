//! The connections that the SC takes, no more at a time than it may: each costs memory, whoever it
//! is from. What comes on top is closed at once, so that its client hears of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{StreamExt as _, future, stream};
use thalweg_runtime::net::tls::TlsServer;
use thalweg_runtime::net::{Stream, TcpListener, TcpStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::transport::server::{Connected, TcpConnectInfo};
use tracing::{debug, info, warn};

/// The connections that come to `listener`, at most `max` at a time, under `tls` where it is given. Those
/// that come to no agreement on it hold up no others.
pub(crate) fn incoming(
    listener: TcpListener,
    tls: Option<Arc<TlsServer>>,
    max: u32,
) -> impl futures::Stream<Item = io::Result<Connection>> {
    let max = max as usize;
    let free = Arc::new(Semaphore::new(max));
    stream::unfold(listener, |listener| async move {
        Some((accept(&listener).await, listener))
    })
    .filter_map(move |accepted| {
        let taken = accepted.map(|stream| {
            let place = Arc::clone(&free).try_acquire_owned().ok()?;
            Some((stream, place))
        });
        if matches!(taken, Ok(None)) {
            warn!(max, "refusing a connection: there are as many as allowed");
        }
        future::ready(taken.transpose())
    })
    .map(move |taken| agree(taken, tls.clone()))
    .buffer_unordered(max)
    .filter_map(future::ready)
}

async fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "answers may be late: failed to set TCP_NODELAY");
    }
    Ok(stream)
}

/// The connection, unless it comes to no agreement.
async fn agree(
    taken: io::Result<(TcpStream, OwnedSemaphorePermit)>,
    tls: Option<Arc<TlsServer>>,
) -> Option<io::Result<Connection>> {
    let (socket, place) = match taken {
        Ok(taken) => taken,
        Err(error) => return Some(Err(error)),
    };
    let stream = match tls {
        None => Stream::Plain(socket),
        Some(tls) => {
            let peer = socket.peer_addr().ok();
            match tls.accept(socket).await {
                Ok(stream) => stream,
                Err(error) => {
                    // Who only looks whether somebody listens hangs up at once: SCs that stand by do.
                    if error.kind() == io::ErrorKind::UnexpectedEof {
                        debug!(?peer, %error, "a connection ended before TLS was agreed on");
                    } else {
                        info!(?peer, %error, "refusing a connection: no agreement on TLS");
                    }
                    return None;
                }
            }
        }
    };
    Some(Ok(Connection {
        stream,
        _place: place,
    }))
}

/// A connection that was taken. Its place is free again once it is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo {
            local_addr: self.stream.local_addr().ok(),
            remote_addr: self.stream.peer_addr().ok(),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
