//! What a request is answered with, and how that gets into the socket.
//!
//! An answer is a list of pieces. Records are pieces of segment files, which the kernel sends by
//! `sendfile`: they never come into this process.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use rustix::net::SendFlags;
use thalweg_storage::LogSlice;
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::memory::Reservation;

/// How much of a file goes out before others on the thread get a turn, in bytes.
const SEND_FILE_BYTES: usize = 1 << 20;

/// A part of an answer.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Batches in a segment.
    File(LogSlice),
}

/// What a request is answered with.
#[derive(Debug)]
pub(super) enum Answer {
    /// Nothing: a produce that asked for no acknowledgement.
    None,
    /// A whole frame, and the memory that it takes, as far as that was reserved.
    Frame(Vec<Piece>, Vec<Reservation>),
    /// The connection ends: there is no answer to such a request.
    HangUp(String),
}

impl Answer {
    pub(super) fn frame(frame: Bytes) -> Self {
        Self::Frame(vec![Piece::Bytes(frame)], Vec::new())
    }

    /// The frame holds what was reserved until it is sent.
    pub(super) fn holding(mut self, reservation: impl IntoIterator<Item = Reservation>) -> Self {
        if let Self::Frame(_, held) = &mut self {
            held.extend(reservation);
        }
        self
    }
}

/// Writes the pieces of one answer in full. Fails when the peer takes nothing for `stall_timeout`.
///
/// Not cancel-safe: dropped half-way, the connection is of no use any more.
pub(super) async fn send(
    socket: &TcpStream,
    pieces: Vec<Piece>,
    stall_timeout: Duration,
) -> io::Result<()> {
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.into_iter().enumerate() {
        match piece {
            Piece::Bytes(bytes) => send_bytes(socket, bytes, index < last, stall_timeout).await?,
            Piece::File(slice) => send_file(socket, &slice, stall_timeout).await?,
        }
    }
    Ok(())
}

async fn send_bytes(
    socket: &TcpStream,
    mut bytes: Bytes,
    more: bool,
    stall_timeout: Duration,
) -> io::Result<()> {
    // Told that more follows, the kernel puts the fields and the records into one packet.
    let flags = if more {
        SendFlags::NOSIGNAL | SendFlags::MORE
    } else {
        SendFlags::NOSIGNAL
    };
    while !bytes.is_empty() {
        let sent = writable(socket, stall_timeout, || {
            Ok(rustix::net::send(socket, &bytes, flags)?)
        })
        .await?;
        bytes.advance(sent);
    }
    Ok(())
}

async fn send_file(
    socket: &TcpStream,
    slice: &LogSlice,
    stall_timeout: Duration,
) -> io::Result<()> {
    let mut position = slice.position;
    let end = slice.position + u64::from(slice.len_bytes);
    while position < end {
        let missing = usize::try_from(end - position).unwrap_or(usize::MAX);
        let sent = writable(socket, stall_timeout, || {
            // The kernel moves its argument also where it then fails.
            let mut from = position;
            let count = missing.min(SEND_FILE_BYTES);
            Ok(rustix::fs::sendfile(
                socket,
                &slice.file,
                Some(&mut from),
                count,
            )?)
        })
        .await?;
        if sent == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the segment is shorter than it was when it was read",
            ));
        }
        position += sent as u64;
    }
    Ok(())
}

/// Tries `write` whenever the socket takes something.
async fn writable<T>(
    socket: &TcpStream,
    stall_timeout: Duration,
    write: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    tokio::time::timeout(stall_timeout, socket.async_io(Interest::WRITABLE, write))
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client takes no answers"))?
}
