//! A connection as it is or under TLS. Both are read and written in the same way; of the one as it is the
//! kernel also sends files by itself.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio_rustls::TlsStream;

use super::socket::{self, OwnedReadHalf, OwnedWriteHalf, TcpStream};

/// How much of a file goes out under TLS at a time, in bytes: some of its records, each of at most
/// 16 KiB (RFC 8446, section 5.1).
const SEND_FILE_BYTES: usize = 64 << 10;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What is read of a connection.
#[derive(Debug)]
pub enum ReadHalf {
    /// As it is.
    Plain(OwnedReadHalf),
    /// Under TLS.
    Tls(tokio::io::ReadHalf<Box<TlsStream<TcpStream>>>),
}

/// What is written to a connection. Under TLS it has gone out only after a flush.
#[derive(Debug)]
pub enum WriteHalf {
    /// As it is.
    Plain(OwnedWriteHalf),
    /// Under TLS.
    Tls(tokio::io::WriteHalf<Box<TlsStream<TcpStream>>>),
}

impl Stream {
    fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// The address of the other side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket().peer_addr()
    }

    /// The address of this side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// Both directions, apart.
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        match self {
            Self::Plain(socket) => {
                let (reading, writing) = socket.into_split();
                (ReadHalf::Plain(reading), WriteHalf::Plain(writing))
            }
            Self::Tls(stream) => {
                let (reading, writing) = tokio::io::split(stream);
                (ReadHalf::Tls(reading), WriteHalf::Tls(writing))
            }
        }
    }
}

/// Sends some of `bytes` once the connection takes any, and returns how many. Told that `more` follows,
/// the kernel waits for it to fill a packet.
///
/// # Errors
/// When the connection is broken.
pub async fn send(connection: &mut WriteHalf, bytes: &[u8], more: bool) -> io::Result<usize> {
    match connection {
        WriteHalf::Plain(socket) => socket::send(socket, bytes, more).await,
        WriteHalf::Tls(stream) => stream.write(bytes).await,
    }
}

/// Sends at most `count` bytes of a file from `position` on, and returns how many; 0 at the file's end.
/// But under TLS they never come into this process.
///
/// # Errors
/// When the connection is broken, or the file can't be read.
pub async fn send_file(
    connection: &mut WriteHalf,
    file: &File,
    position: u64,
    count: usize,
) -> io::Result<usize> {
    match connection {
        WriteHalf::Plain(socket) => socket::send_file(socket, file, position, count).await,
        WriteHalf::Tls(stream) => {
            let mut bytes = vec![0; count.min(SEND_FILE_BYTES)];
            let read = file.read_at(&mut bytes, position)?;
            stream.write(&bytes[..read]).await
        }
    }
}

/// Calls the same of what is inside.
macro_rules! inside {
    ($self:ident, $inside:ident => $call:expr) => {
        match $self.get_mut() {
            Self::Plain($inside) => $call,
            Self::Tls($inside) => $call,
        }
    };
}

macro_rules! reads {
    ($half:ty) => {
        impl AsyncRead for $half {
            fn poll_read(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                inside!(self, inside => Pin::new(inside).poll_read(context, buffer))
            }
        }
    };
}

macro_rules! writes {
    ($half:ty) => {
        impl AsyncWrite for $half {
            fn poll_write(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                inside!(self, inside => Pin::new(inside).poll_write(context, bytes))
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
                buffers: &[io::IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                inside!(self, inside => Pin::new(inside).poll_write_vectored(context, buffers))
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    Self::Plain(inside) => inside.is_write_vectored(),
                    Self::Tls(inside) => inside.is_write_vectored(),
                }
            }

            fn poll_flush(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                inside!(self, inside => Pin::new(inside).poll_flush(context))
            }

            fn poll_shutdown(
                self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<io::Result<()>> {
                inside!(self, inside => Pin::new(inside).poll_shutdown(context))
            }
        }
    };
}

reads!(Stream);
writes!(Stream);
reads!(ReadHalf);
writes!(WriteHalf);
