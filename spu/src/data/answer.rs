//! What a request is answered with, and how that gets into the socket.
//!
//! An answer is a list of pieces. Records are pieces of segment files, which the kernel sends by
//! `sendfile`: they never come into this process.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use thalweg_runtime::net::{self, WriteHalf};
use thalweg_storage::LogSlice;
use tokio::io::AsyncWriteExt as _;

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
    socket: &mut WriteHalf,
    pieces: Vec<Piece>,
    stall_timeout: Duration,
) -> io::Result<()> {
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.into_iter().enumerate() {
        match piece {
            // Told that more follows, the kernel puts the fields and the records into one packet.
            Piece::Bytes(bytes) => send_bytes(socket, bytes, index < last, stall_timeout).await?,
            Piece::File(slice) => send_file(socket, &slice, stall_timeout).await?,
        }
    }
    in_time(stall_timeout, socket.flush()).await
}

async fn send_bytes(
    socket: &mut WriteHalf,
    mut bytes: Bytes,
    more: bool,
    stall_timeout: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let sent = in_time(stall_timeout, net::send(socket, &bytes, more)).await?;
        bytes.advance(sent);
    }
    Ok(())
}

async fn send_file(
    socket: &mut WriteHalf,
    slice: &LogSlice,
    stall_timeout: Duration,
) -> io::Result<()> {
    let mut position = slice.position;
    let end = slice.position + u64::from(slice.len_bytes);
    while position < end {
        let missing = usize::try_from(end - position).unwrap_or(usize::MAX);
        let count = missing.min(SEND_FILE_BYTES);
        let sending = net::send_file(socket, &slice.file, position, count);
        let sent = in_time(stall_timeout, sending).await?;
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

/// What `sending` gives, which waits until the socket takes something.
async fn in_time<T>(
    stall_timeout: Duration,
    sending: impl Future<Output = io::Result<T>>,
) -> io::Result<T> {
    tokio::time::timeout(stall_timeout, sending)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "the client takes no answers"))?
}
