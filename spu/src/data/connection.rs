//! One client's connection: reads requests, answers them in their order.
//!
//! Two halves run in one task. The reading half takes frames off the socket as memory allows,
//! and starts produces at once, so that they reach the log in order while earlier ones still wait
//! for their acknowledgement. The writing half takes what was read in order, works through
//! everything that is no produce, and writes the answers. The queue between them is bounded: when
//! answers are not taken the reading half stops, and with it the client.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use thalweg_runtime::CancellationToken;
use thalweg_runtime::net::{ReadHalf, Stream, WriteHalf};
use thalweg_wire::{
    DecodeError, FrameError, FrameReader, RequestHeader, SMALL_FRAME_BYTES, decode_request_header,
};
use tokio::sync::{Semaphore, mpsc};

use super::answer::{Answer, send};
use super::dead_letters::DeadLetters;
use super::memory::Memory;
use super::router::{Route, Router};
use super::topic_chains::TopicChains;
use crate::context::SpuContext;

/// How many requests of one connection may wait for their answer; the client waits then.
const IN_FLIGHT_MAX: usize = 64;
/// How long the rest of a request may take once its beginning has come, beside a second for
/// every MiB: a client that stalls must not keep the memory that was reserved for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How many bytes of small requests may wait in a connection's queue. They come out of a budget of
/// the connection's own: clients that send questions and take no answers must not use up the
/// memory that others need.
const SMALL_REQUESTS_BYTES: u64 = 32 << 10;
/// How long a client may take nothing of an answer that is ready: what the answer holds is wanted
/// elsewhere.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How many lookups by timestamp run at a time.
const LOOKUPS_MAX: usize = 4;
/// How long answers that are on their way may take when the SPU shuts down.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// What all connections share.
pub(super) struct Shared {
    pub(super) context: SpuContext,
    /// For requests.
    pub(super) requests: Memory,
    /// For answers that are built in memory. A budget of its own, so that consumers that don't
    /// take their answers hold up no producer.
    pub(super) answers: Memory,
    /// For records on their way through SmartModules or another codec. Whoever holds some of it
    /// waits for no other budget.
    pub(super) streamed: Memory,
    /// The way to dead-letter topics.
    pub(super) dead_letters: DeadLetters,
    /// The chains that topics have.
    pub(super) topic_chains: TopicChains,
    /// Turns at lookups by timestamp, each of which may decompress a batch.
    pub(super) lookups: Semaphore,
    /// Fires when the SPU shuts down: long polls end then.
    pub(super) shutdown: CancellationToken,
}

impl Shared {
    /// `address` is where this SPU listens.
    pub(super) fn new(
        context: SpuContext,
        address: SocketAddr,
        shutdown: CancellationToken,
    ) -> Self {
        let budget_bytes = context.options.request_memory_bytes;
        Self {
            requests: Memory::new(budget_bytes),
            answers: Memory::new(budget_bytes),
            streamed: Memory::new(budget_bytes),
            dead_letters: DeadLetters::new(
                address,
                Arc::clone(&context.view),
                context.options.tls.client(),
            ),
            topic_chains: TopicChains::default(),
            lookups: Semaphore::new(LOOKUPS_MAX),
            context,
            shutdown,
        }
    }
}

/// Why a connection was closed by this side.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("nothing came for {timeout:?}")]
    Idle { timeout: Duration },
    #[error("a request stalled half-way")]
    Stalled,
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("{reason}")]
    Refused { reason: String },
    #[error("failed to write an answer")]
    Write(#[source] io::Error),
}

impl ConnectionError {
    /// Whether the client did something that whoever runs the SPU should hear of.
    pub(super) fn is_worth_a_warning(&self) -> bool {
        matches!(
            self,
            Self::Frame(FrameError::Size { .. } | FrameError::Tls)
                | Self::Decode(_)
                | Self::Refused { .. }
        )
    }
}

/// A request that was read, in the queue of the writing half.
pub(super) enum Pending {
    /// Begun by the reading half; resolves when it is done.
    Begun(BoxFuture<'static, Answer>),
    /// To be worked through in its turn.
    Request(RequestHeader, Bytes),
}

/// One client's connection.
pub(super) struct Connection {
    reader: FrameReader<ReadHalf>,
    writer: WriteHalf,
    shared: Arc<Shared>,
    router: Arc<Router>,
}

impl Connection {
    pub(super) fn new(stream: Stream, shared: Arc<Shared>) -> Self {
        let peer = stream.peer_addr().ok().map(|peer| peer.ip());
        let (reading, writer) = stream.into_split();
        let request_bytes_max = usize::try_from(shared.context.options.request_bytes_max);
        Self {
            reader: FrameReader::new(reading, request_bytes_max.unwrap_or(usize::MAX)),
            writer,
            router: Arc::new(Router::new(Arc::clone(&shared), peer)),
            shared,
        }
    }

    /// Serves until the client hangs up, something fails, or the SPU shuts down.
    pub(super) async fn serve(
        mut self,
        shutdown: CancellationToken,
    ) -> Result<(), ConnectionError> {
        let (queue, pending) = mpsc::channel(IN_FLIGHT_MAX);
        let in_flight = AtomicUsize::new(0);
        let writing = write_answers(&mut self.writer, pending, &self.router, &in_flight);
        tokio::pin!(writing);
        let reading = Reading {
            reader: self.reader,
            shared: &self.shared,
            router: &self.router,
            in_flight: &in_flight,
            small_requests: Memory::new(SMALL_REQUESTS_BYTES),
            queue,
        };
        // Neither half is gone on with once the other has ended or the SPU shuts down, except to
        // drain what is in the queue.
        tokio::select! {
            ended = reading.run() => ended,
            ended = &mut writing => ended,
            () = shutdown.cancelled() => {
                // The reading half is gone and its end of the queue with it.
                let drained = tokio::time::timeout(DRAIN_TIMEOUT, writing).await;
                drained.unwrap_or(Ok(()))
            }
        }
    }
}

/// The reading half.
struct Reading<'a> {
    reader: FrameReader<ReadHalf>,
    shared: &'a Shared,
    router: &'a Arc<Router>,
    in_flight: &'a AtomicUsize,
    small_requests: Memory,
    queue: mpsc::Sender<Pending>,
}

impl Reading<'_> {
    async fn run(mut self) -> Result<(), ConnectionError> {
        while let Some(frame) = self.next_frame().await? {
            let (header, message) = decode_request_header(&frame)?;
            drop(frame);
            let pending = match self.router.route(header, message)? {
                Route::Later(header, message) => Pending::Request(header, message),
                Route::Produce(produce) => Pending::Begun(produce.begin(self.router).await?),
            };
            self.in_flight.fetch_add(1, Ordering::Relaxed);
            if self.queue.send(pending).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    async fn next_frame(&mut self) -> Result<Option<Bytes>, ConnectionError> {
        let Some(length) = self.next_length().await? else {
            return Ok(None);
        };
        let budget = if length <= SMALL_FRAME_BYTES {
            &self.small_requests
        } else {
            &self.shared.requests
        };
        let reservation = budget.reserve(length).await;
        if length > SMALL_FRAME_BYTES {
            self.reader.offer_buffer(budget.buffer(length));
        }
        let timeout = BODY_TIMEOUT + Duration::from_secs(length as u64 >> 20);
        let frame = tokio::time::timeout(timeout, self.reader.next_body())
            .await
            .map_err(|_| ConnectionError::Stalled)??;
        Ok(Some(reservation.hold(frame)))
    }

    async fn next_length(&mut self) -> Result<Option<usize>, ConnectionError> {
        let timeout = self.shared.context.options.idle_timeout;
        loop {
            match tokio::time::timeout(timeout, self.reader.next_length()).await {
                Ok(length) => return Ok(length?),
                // A client that waits for answers is not idle.
                Err(_) if self.in_flight.load(Ordering::Relaxed) > 0 => {}
                Err(_) => return Err(ConnectionError::Idle { timeout }),
            }
        }
    }
}

/// The writing half. Ends well when the queue does.
async fn write_answers(
    writer: &mut WriteHalf,
    mut pending: mpsc::Receiver<Pending>,
    router: &Arc<Router>,
    in_flight: &AtomicUsize,
) -> Result<(), ConnectionError> {
    while let Some(pending) = pending.recv().await {
        let answer = match pending {
            Pending::Begun(answer) => answer.await,
            Pending::Request(header, message) => router.answer(header, message).await?,
        };
        match answer {
            Answer::None => {}
            Answer::Frame(pieces, reservation) => {
                send(writer, pieces, STALL_TIMEOUT)
                    .await
                    .map_err(ConnectionError::Write)?;
                drop(reservation);
            }
            Answer::HangUp(reason) => return Err(ConnectionError::Refused { reason }),
        }
        in_flight.fetch_sub(1, Ordering::Relaxed);
    }
    Ok(())
}
