//! The floor: what this machine does with no broker at all.
//!
//! Each probe does only what no broker can leave out, with two threads over loopback: receive,
//! check CRC32C and append to a file (through the page cache, or with `fdatasync` running beside the
//! writes), send a file by `sendfile`, and one round trip. Thalweg's figures are given as a share
//! of these, measured in the same run.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::stopwatch::Stopwatch;

/// The unit that is received, checked and written: a batch as large as a producer's.
const CHUNK_BYTES: usize = 1 << 20;

/// What one probe moved and how long it took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// How long it took.
    pub(crate) elapsed: Duration,
}

impl Floor {
    /// Megabytes (10^6 bytes) a second.
    pub(crate) fn megabytes_per_second(self) -> f64 {
        self.bytes as f64 / 1e6 / self.elapsed.as_secs_f64()
    }
}

/// Whether the append probe syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// The page cache is enough.
    Memory,
    /// A second thread runs `fdatasync` beside the writes; done when all is synced.
    Overlapped,
}

/// Receives `bytes` over loopback, checks CRC32C of each chunk and appends it to a file in `dir`.
pub(crate) fn receive_check_append(dir: &Path, bytes: u64, sync: Sync) -> io::Result<Floor> {
    let path = dir.join("floor.log");
    let file = Arc::new(
        File::options()
            .create(true)
            .truncate(true)
            .read(true)
            .write(true)
            .open(&path)?,
    );
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let chunk = patterned_chunk();
    let expected = crc32c::crc32c(&chunk);
    let written = AtomicU64::new(0);
    let done = AtomicBool::new(false);
    let stopwatch = Stopwatch::start();

    let elapsed = thread::scope(|scope| {
        let sender = scope.spawn(move || send_chunks(address, &chunk, bytes));
        let syncer = (sync == Sync::Overlapped).then(|| {
            let (file, written, done) = (&file, &written, &done);
            scope.spawn(move || sync_behind(file, written, done))
        });

        let (mut socket, _) = listener.accept()?;
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut position = 0;
        while position < bytes {
            socket.read_exact(&mut buffer)?;
            if crc32c::crc32c(&buffer) != expected {
                return Err(io::Error::other("a chunk arrived damaged"));
            }
            file.write_all_at(&buffer, position)?;
            position += buffer.len() as u64;
            written.store(position, Ordering::Release);
        }
        done.store(true, Ordering::Release);
        if let Some(syncer) = syncer {
            syncer.join().expect("the syncer does not panic")?;
        }
        sender.join().expect("the sender does not panic")?;
        Ok(stopwatch.elapsed())
    })?;
    std::fs::remove_file(path)?;
    Ok(Floor { bytes, elapsed })
}

/// Sends `bytes` of a file in `dir` that lies in the page cache over loopback by `sendfile`.
pub(crate) fn send_file(dir: &Path, bytes: u64) -> io::Result<Floor> {
    let path = dir.join("floor.send");
    let mut file = File::options()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&path)?;
    let chunk = patterned_chunk();
    for _ in 0..bytes / CHUNK_BYTES as u64 {
        file.write_all(&chunk)?;
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let stopwatch = Stopwatch::start();

    let elapsed = thread::scope(|scope| {
        let receiver = scope.spawn(move || -> io::Result<()> {
            let mut socket = TcpStream::connect(address)?;
            let mut buffer = vec![0; CHUNK_BYTES];
            let mut left = bytes;
            while left > 0 {
                let received = socket.read(&mut buffer)?;
                if received == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                left -= received as u64;
            }
            Ok(())
        });
        let (socket, _) = listener.accept()?;
        let mut position = 0;
        while position < bytes {
            let wanted = usize::try_from(bytes - position).unwrap_or(usize::MAX);
            rustix::fs::sendfile(&socket, &file, Some(&mut position), wanted.min(CHUNK_BYTES))?;
        }
        receiver.join().expect("the receiver does not panic")?;
        io::Result::Ok(stopwatch.elapsed())
    })?;
    std::fs::remove_file(path)?;
    Ok(Floor { bytes, elapsed })
}

/// Round trips of `payload_bytes` out and a few bytes back over loopback: each one's duration. They
/// begin at least `every` apart: between two that are far apart both sides fall asleep, and waking
/// up is then most of it.
pub(crate) fn ping_pong(
    payload_bytes: usize,
    count: usize,
    every: Duration,
) -> io::Result<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let server = scope.spawn(move || -> io::Result<()> {
            let (mut socket, _) = listener.accept()?;
            socket.set_nodelay(true)?;
            let mut buffer = vec![0; payload_bytes];
            for _ in 0..count {
                socket.read_exact(&mut buffer)?;
                socket.write_all(&buffer[..payload_bytes.min(40)])?;
            }
            Ok(())
        });
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        let payload = vec![7; payload_bytes];
        let mut answer = vec![0; payload_bytes.min(40)];
        let mut trips = Vec::with_capacity(count);
        let begun = Stopwatch::start();
        for index in 0..count {
            let due = every * u32::try_from(index).unwrap_or(u32::MAX);
            // The pace is the load; nothing is waited for.
            thread::sleep(due.saturating_sub(begun.elapsed()));
            let stopwatch = Stopwatch::start();
            socket.write_all(&payload)?;
            socket.read_exact(&mut answer)?;
            trips.push(stopwatch.elapsed());
        }
        server.join().expect("the server does not panic")?;
        Ok(trips)
    })
}

/// Appends of `payload_bytes`, each followed by its own `fdatasync`: each one's duration.
pub(crate) fn append_and_sync(
    dir: &Path,
    payload_bytes: usize,
    count: usize,
) -> io::Result<Vec<Duration>> {
    let path = dir.join("floor.sync");
    let file = File::create(&path)?;
    let payload = vec![7; payload_bytes];
    let mut syncs = Vec::with_capacity(count);
    for index in 0..count {
        let stopwatch = Stopwatch::start();
        file.write_all_at(&payload, (index * payload_bytes) as u64)?;
        file.sync_data()?;
        syncs.push(stopwatch.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(syncs)
}

fn send_chunks(address: std::net::SocketAddr, chunk: &[u8], bytes: u64) -> io::Result<()> {
    let mut socket = TcpStream::connect(address)?;
    for _ in 0..bytes / CHUNK_BYTES as u64 {
        socket.write_all(chunk)?;
    }
    Ok(())
}

/// Syncs whatever has been written since the last sync, until all is written and synced.
fn sync_behind(file: &File, written: &AtomicU64, done: &AtomicBool) -> io::Result<()> {
    let mut synced = 0;
    loop {
        // `done` is read first: what is written after it is seen as `false` is synced next time.
        let last = done.load(Ordering::Acquire);
        let now = written.load(Ordering::Acquire);
        if now > synced {
            file.sync_data()?;
            synced = now;
        } else if last {
            return Ok(());
        } else {
            thread::yield_now();
        }
    }
}

fn patterned_chunk() -> Vec<u8> {
    (0..CHUNK_BYTES)
        .map(|index| (index * 31 % 251) as u8)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_probe_moves_what_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = 4 * CHUNK_BYTES as u64;

        for sync in [Sync::Memory, Sync::Overlapped] {
            let floor = receive_check_append(dir.path(), bytes, sync).unwrap();
            assert_eq!(floor.bytes, bytes);
            assert!(floor.megabytes_per_second() > 0.0);
        }
        assert_eq!(send_file(dir.path(), bytes).unwrap().bytes, bytes);
        assert_eq!(
            ping_pong(1024, 10, Duration::from_millis(1)).unwrap().len(),
            10
        );
        assert_eq!(append_and_sync(dir.path(), 1024, 3).unwrap().len(), 3);
    }
}
