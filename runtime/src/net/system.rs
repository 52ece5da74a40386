//! The system's sockets.

use std::fs::File;
use std::io;

use rustix::net::SendFlags;
use tokio::io::Interest;
pub(super) use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub use tokio::net::{TcpListener, TcpStream};

/// Sends some of `bytes` once the socket takes any, and returns how many. Told that `more` follows, the
/// kernel waits for it to fill a packet.
///
/// # Errors
/// When the connection is broken.
pub(super) async fn send(
    socket: &mut OwnedWriteHalf,
    bytes: &[u8],
    more: bool,
) -> io::Result<usize> {
    let flags = if more {
        SendFlags::NOSIGNAL | SendFlags::MORE
    } else {
        SendFlags::NOSIGNAL
    };
    let socket = socket.as_ref();
    let write = || Ok(rustix::net::send(socket, bytes, flags)?);
    socket.async_io(Interest::WRITABLE, write).await
}

/// Sends at most `count` bytes of a file from `position` on, which never come into this process, and
/// returns how many; 0 at the file's end.
///
/// # Errors
/// When the connection is broken, or the file can't be read.
pub(super) async fn send_file(
    socket: &mut OwnedWriteHalf,
    file: &File,
    position: u64,
    count: usize,
) -> io::Result<usize> {
    let socket = socket.as_ref();
    let write = || {
        // The kernel moves its argument also where it then fails.
        let mut from = position;
        Ok(rustix::fs::sendfile(socket, file, Some(&mut from), count)?)
    };
    socket.async_io(Interest::WRITABLE, write).await
}
