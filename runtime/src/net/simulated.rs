//! The simulation's sockets: a host's link to another may be slow, lossy or cut.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tokio::io::AsyncWriteExt;
pub(super) use turmoil::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
pub use turmoil::net::{TcpListener, TcpStream};

/// How much of a file goes out at a time, in bytes.
const SEND_FILE_BYTES: usize = 64 << 10;

/// As the system's.
///
/// # Errors
/// When the connection is broken.
pub(super) async fn send(
    socket: &mut OwnedWriteHalf,
    bytes: &[u8],
    _more: bool,
) -> io::Result<usize> {
    socket.write(bytes).await
}

/// As the system's.
///
/// # Errors
/// When the connection is broken, or the file can't be read.
pub(super) async fn send_file(
    socket: &mut OwnedWriteHalf,
    file: &File,
    position: u64,
    count: usize,
) -> io::Result<usize> {
    let mut bytes = vec![0; count.min(SEND_FILE_BYTES)];
    let read = file.read_at(&mut bytes, position)?;
    socket.write(&bytes[..read]).await
}
