//! Reads an input in chunks of whole lines, on a thread of its own.
//!
//! A blocking read on a runtime's thread would stop the producer's own work. The queue between the
//! two holds a few chunks; while it is full nothing is read, so that whole lines that were read are in
//! the queue and nowhere else.

use std::io::Read;
use std::thread;

use anyhow::anyhow;
use bytes::{Bytes, BytesMut};
use memchr::{memchr_iter, memrchr};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::error::CliError;

/// How much is asked of the input at once.
const READ_BYTES: usize = 256 << 10;

/// How many chunks may wait.
const QUEUE_CHUNKS: usize = 8;

/// The longest line. No topic takes records of this size, and an input without newlines must not
/// fill the memory.
const LINE_BYTES_MAX: usize = 64 << 20;

/// The chunks of an input, as they come.
pub(super) struct LineChunks {
    chunks: mpsc::Receiver<Result<LineChunk, anyhow::Error>>,
}

/// Some whole lines; the input's last line may lack its newline.
pub(super) struct LineChunk(Bytes);

impl LineChunks {
    /// Starts to read `input`; errors call it `name`.
    pub(super) fn read(input: impl Read + Send + 'static, name: String) -> Self {
        let (sender, chunks) = mpsc::channel(QUEUE_CHUNKS);
        let runtime = Handle::current();
        // Not joined: it may wait for a line that never comes when this command fails.
        thread::spawn(move || {
            if let Err(error) = read_chunks(input, &name, &sender, &runtime) {
                // When nobody listens any more, nobody wants to know.
                let _ = sender.blocking_send(Err(error));
            }
        });
        Self { chunks }
    }

    /// The next chunk; `None` at the end of the input.
    pub(super) async fn next(&mut self) -> Result<Option<LineChunk>, CliError> {
        Ok(self.chunks.recv().await.transpose()?)
    }

    /// The next chunk; `None` at the end of the input, and, once `stop` has returned, after the last
    /// line that was read by then.
    pub(super) async fn next_until(
        &mut self,
        stop: impl Future<Output = ()>,
    ) -> Result<Option<LineChunk>, CliError> {
        let next = tokio::select! {
            next = self.chunks.recv() => next,
            () = stop => self.chunks.try_recv().ok(),
        };
        Ok(next.transpose()?)
    }

    /// Whether all of the input was read.
    pub(super) fn are_all(&self) -> bool {
        self.chunks.is_closed() && self.chunks.is_empty()
    }
}

impl LineChunk {
    /// The lines, without their newlines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let bytes = &self.0[..];
        let mut begin = 0;
        let whole = memchr_iter(b'\n', bytes).map(move |newline| {
            let line = begin..newline;
            begin = newline + 1;
            line
        });
        let last_begin = memrchr(b'\n', bytes).map_or(0, |newline| newline + 1);
        let last = (last_begin < bytes.len()).then_some(last_begin..bytes.len());
        whole.chain(last).map(move |line| &bytes[line])
    }

    /// How much of the input it is.
    pub(super) fn len_bytes(&self) -> u64 {
        self.0.len() as u64
    }
}

fn read_chunks(
    mut input: impl Read,
    name: &str,
    sender: &mpsc::Sender<Result<LineChunk, anyhow::Error>>,
    runtime: &Handle,
) -> Result<(), anyhow::Error> {
    let mut pending = BytesMut::new();
    loop {
        // What is read then has its place in the queue.
        let Ok(place) = runtime.block_on(sender.reserve()) else {
            return Ok(());
        };
        let filled = pending.len();
        pending.resize(filled + READ_BYTES, 0);
        let read = loop {
            match input.read(&mut pending[filled..]) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        let read = read.map_err(|error| anyhow!("failed to read {name}: {error}"))?;
        pending.truncate(filled + read);
        let chunk = match memrchr(b'\n', &pending[filled..]) {
            _ if read == 0 => pending.split(),
            Some(newline) => pending.split_to(filled + newline + 1),
            None if pending.len() > LINE_BYTES_MAX => {
                return Err(anyhow!(
                    "a line of {name} is longer than {} MiB",
                    LINE_BYTES_MAX >> 20
                ));
            }
            None => continue,
        };
        let is_last = read == 0;
        if !chunk.is_empty() {
            place.send(Ok(LineChunk(chunk.freeze())));
        }
        if is_last {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    async fn lines_of(input: &'static [u8]) -> Vec<Vec<u8>> {
        let mut chunks = LineChunks::read(input, "test".to_owned());
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            lines.extend(chunk.lines().map(<[u8]>::to_vec));
        }
        lines
    }

    #[tokio::test]
    async fn every_line_is_there_once_with_its_bytes() {
        assert_eq!(lines_of(b"").await, Vec::<Vec<u8>>::new());
        assert_eq!(
            lines_of(b"a\n\nb").await,
            [b"a".to_vec(), b"".to_vec(), b"b".to_vec()]
        );
        assert_eq!(lines_of(b"\xff\r\n").await, [b"\xff\r".to_vec()]);
    }

    #[tokio::test]
    async fn lines_longer_than_a_read_stay_whole() {
        let long = vec![b'x'; 3 * READ_BYTES + 7];
        let input = [&long[..], b"\nshort\n", &long[..]].concat();

        let lines = lines_of(input.leak()).await;

        assert_eq!(lines, [long.clone(), b"short".to_vec(), long]);
    }

    #[tokio::test]
    async fn who_stops_has_every_line_that_was_read_and_no_other() {
        let (input, mut output) = std::io::pipe().unwrap();
        let mut chunks = LineChunks::read(input, "test".to_owned());
        output.write_all(b"one\ntwo\nhal").unwrap();
        while chunks.chunks.is_empty() {
            tokio::task::yield_now().await;
        }

        let read = chunks.next_until(std::future::ready(())).await.unwrap();
        let after = chunks.next_until(std::future::ready(())).await.unwrap();

        assert_eq!(
            read.unwrap().lines().collect::<Vec<_>>(),
            [b"one".as_slice(), b"two"]
        );
        assert!(after.is_none());
        assert!(!chunks.are_all(), "somebody may still write");
    }

    #[tokio::test]
    async fn an_input_without_newlines_is_refused_before_it_fills_the_memory() {
        let mut chunks = LineChunks::read(std::io::repeat(b'x'), "test".to_owned());

        let Err(error) = chunks.next().await else {
            panic!("a line without end was accepted");
        };

        assert!(error.to_string().contains("64 MiB"), "{error}");
    }
}
