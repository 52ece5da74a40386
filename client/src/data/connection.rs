//! One TCP connection to an SPU: requests are written as they come and answered in that order.
//!
//! Many tasks share a connection. Each writes its request whole under a lock and then waits for
//! its answer alone, so that any number of requests are in flight. A reader task hands out the
//! answers. Whatever goes wrong ends the connection for everybody: with answers in order, nothing
//! that comes after an error can be trusted. [`Connections`](super::Connections) makes a new one.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use thalweg_runtime::net::tls::TlsClient;
use thalweg_runtime::net::{ReadHalf, Stream, TcpStream, WriteHalf};
use thalweg_runtime::{CancellationToken, TaskGroup};
use thalweg_types::ClusterId;
use thalweg_wire::messages::{ApiVersionsRequest, ApiVersionsResponse};
use thalweg_wire::{
    ANNOUNCED, ApiRequest, EXTENSION, FrameReader, StrBytes, THALWEG_SOFTWARE_NAME, VersionRange,
    decode_response, encode_request, peek_correlation_id, tags,
};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::liveness::{Liveness, PATIENCE};
use super::{RequestError, kafka_name};

/// The largest answer that is read, in bytes: far beyond what any request here asks for.
const RESPONSE_BYTES_MAX: usize = 512 << 20;

/// What is said of those who hang up on somebody without TLS.
pub(crate) const MAY_SPEAK_TLS: &str =
    "if it speaks TLS, name its authority with `--tls-ca`, or in the client's options";

/// What every connection of a client has in common.
#[derive(Debug, Clone)]
pub struct ConnectionOptions {
    client_id: String,
    connect_timeout: Duration,
    request_timeout: Duration,
    liveness: Option<Arc<Liveness>>,
    cluster: Arc<OnceLock<ClusterId>>,
    tls: Option<Arc<TlsClient>>,
}

impl ConnectionOptions {
    /// What the client calls itself, how long connecting may take, and how long an answer may where
    /// nothing else is said.
    #[must_use]
    pub fn new(
        client_id: impl Into<String>,
        connect_timeout: Duration,
        request_timeout: Duration,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            connect_timeout,
            request_timeout,
            liveness: None,
            cluster: Arc::default(),
            tls: None,
        }
    }

    /// The same with other times.
    #[must_use]
    pub(crate) fn in_time(self, connect_timeout: Duration, request_timeout: Duration) -> Self {
        Self {
            connect_timeout,
            request_timeout,
            ..self
        }
    }

    /// Connects under TLS where it is given.
    #[must_use]
    pub fn under_tls(self, tls: Option<Arc<TlsClient>>) -> Self {
        Self { tls, ..self }
    }

    /// Gives up waiting for an SPU that the cluster has given up.
    #[must_use]
    pub(crate) fn watched_by(self, liveness: Arc<Liveness>) -> Self {
        Self {
            liveness: Some(liveness),
            ..self
        }
    }

    async fn stream(&self, address: &str) -> io::Result<Stream> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        match &self.tls {
            // Apart, as it is large and most do without.
            Some(tls) => Box::pin(tls.connect(address, socket)).await,
            None => Ok(Stream::Plain(socket)),
        }
    }

    /// Refuses SPUs of another cluster than `cluster`, which is the first one's where it is none yet.
    /// Producer ids and offsets mean something else there.
    #[must_use]
    pub(crate) fn within(self, cluster: Arc<OnceLock<ClusterId>>) -> Self {
        Self { cluster, ..self }
    }
}

/// One TCP connection to an SPU, for requests of the data protocol as they are. Ends when dropped.
#[derive(Debug)]
pub struct Connection {
    address: String,
    client_id: String,
    versions: Vec<VersionRange>,
    correlation: AtomicI32,
    writer: tokio::sync::Mutex<WriteHalf>,
    pending: Arc<Pending>,
    liveness: Option<Arc<Liveness>>,
}

/// An answer under way.
#[derive(Debug)]
pub(crate) struct Reply {
    connection: Arc<Connection>,
    frame: oneshot::Receiver<Result<Bytes, RequestError>>,
}

/// The requests that have no answer yet, in the order of their answers.
#[derive(Debug)]
struct Pending {
    waiting: Mutex<Waiting>,
    /// Fires when the connection has ended.
    ended: CancellationToken,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(i32, oneshot::Sender<Result<Bytes, RequestError>>)>,
    ended_by: Option<RequestError>,
}

impl Connection {
    /// Connects to `address` and agrees on versions. `tasks` owns the task that reads the answers.
    ///
    /// # Errors
    /// When nobody answers there in time, or not in this protocol.
    pub async fn open(
        address: &str,
        options: &ConnectionOptions,
        tasks: &TaskGroup,
    ) -> Result<Arc<Self>, RequestError> {
        let failed = |reason: String| RequestError::Connect {
            address: address.to_owned(),
            reason,
        };
        let stream = timeout(options.connect_timeout, options.stream(address))
            .await
            .map_err(|_| failed(format!("no answer within {:?}", options.connect_timeout)))?
            .map_err(|error| failed(error.to_string()))?;
        let (reader, writer) = stream.into_split();
        let pending = Arc::new(Pending {
            waiting: Mutex::default(),
            ended: CancellationToken::new(),
        });
        let mut connection = Self {
            address: address.to_owned(),
            client_id: options.client_id.clone(),
            // Until the handshake has told more.
            versions: vec![version_range(<ApiVersionsRequest as ApiRequest>::KEY, 0, 3)],
            correlation: AtomicI32::new(0),
            writer: tokio::sync::Mutex::new(writer),
            pending: Arc::clone(&pending),
            liveness: options.liveness.clone(),
        };
        let reader_address = address.to_owned();
        tasks.spawn("spu-connection-reader", |shutdown| async move {
            pending
                .read_answers(reader, &reader_address, shutdown)
                .await;
            Ok::<_, Infallible>(())
        });
        let agreed = connection.handshake(options).await;
        connection.versions = agreed.map_err(|error| match error {
            RequestError::Disconnected { address, reason } if options.tls.is_none() => {
                // Its alert may have been lost with the connection.
                let reason = format!("{reason}; {MAY_SPEAK_TLS}");
                RequestError::Disconnected { address, reason }
            }
            error => error,
        })?;
        Ok(Arc::new(connection))
    }

    /// Whether it still works, as far as is known.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.pending.ended.is_cancelled()
    }

    /// `host:port` of the peer.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and waits for its answer, at most `wait`. Dropping the future gives up the
    /// answer, or ends the connection where the request was half written.
    ///
    /// # Errors
    /// When the connection ends before the answer has come; it is of no use then.
    pub async fn call<R: ApiRequest>(
        self: &Arc<Self>,
        request: &R,
        wait: Duration,
    ) -> Result<R::Response, RequestError> {
        let version = self.version(R::KEY)?;
        let frame = self.encode(request, version)?;
        let reply = self.send(frame.0, &[frame.1]).await?;
        reply.decode::<R>(version, wait).await
    }

    /// Writes a frame that expects an answer. `parts` are the frame with its length, one after
    /// the other. Dropping the future half-way ends the connection.
    pub(crate) async fn send(
        self: &Arc<Self>,
        correlation_id: i32,
        parts: &[Bytes],
    ) -> Result<Reply, RequestError> {
        let frame = self.write(Some(correlation_id), parts).await?;
        Ok(Reply {
            connection: Arc::clone(self),
            frame: frame.expect("a request with a correlation id waits for an answer"),
        })
    }

    /// Writes a frame that is never answered.
    pub(crate) async fn send_without_reply(&self, parts: &[Bytes]) -> Result<(), RequestError> {
        self.write(None, parts).await.map(drop)
    }

    /// A number for a request, which comes back in the answer.
    pub(crate) fn next_correlation_id(&self) -> i32 {
        self.correlation.fetch_add(1, Ordering::Relaxed)
    }

    /// What this client calls itself.
    pub(crate) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The newest version of an API that both sides know.
    pub(crate) fn version(&self, api_key: i16) -> Result<i16, RequestError> {
        let ours = ANNOUNCED
            .iter()
            .chain(EXTENSION)
            .find(|range| range.key == api_key);
        let theirs = self.versions.iter().find(|range| range.key == api_key);
        match (ours, theirs) {
            (Some(ours), Some(theirs)) if ours.min.max(theirs.min) <= ours.max.min(theirs.max) => {
                Ok(ours.max.min(theirs.max))
            }
            _ => Err(self.protocol(format!(
                "it offers no version of API {api_key} that we know"
            ))),
        }
    }

    pub(crate) fn protocol(&self, reason: impl Into<String>) -> RequestError {
        RequestError::Protocol {
            address: self.address.clone(),
            reason: reason.into(),
        }
    }

    fn encode<R: ApiRequest>(
        &self,
        request: &R,
        version: i16,
    ) -> Result<(i32, Bytes), RequestError> {
        let correlation_id = self.next_correlation_id();
        encode_request(request, version, correlation_id, &self.client_id)
            .map(|frame| (correlation_id, frame))
            .map_err(|error| self.protocol(error.to_string()))
    }

    async fn handshake(
        &self,
        options: &ConnectionOptions,
    ) -> Result<Vec<VersionRange>, RequestError> {
        const VERSION: i16 = 3;
        let request = ApiVersionsRequest::default()
            .with_client_software_name(StrBytes::from_static_str(THALWEG_SOFTWARE_NAME))
            .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION")));
        let (correlation_id, frame) = self.encode(&request, VERSION)?;
        let frame = self
            .write(Some(correlation_id), &[frame])
            .await?
            .expect("a request with a correlation id waits for an answer");
        let frame = self.answer_in_time(frame, options.request_timeout).await?;
        let answer: ApiVersionsResponse = decode_response::<ApiVersionsRequest>(VERSION, frame)
            .map_err(|error| self.protocol(error.to_string()))?;
        if answer.error_code != 0 {
            return Err(RequestError::Refused {
                address: self.address.clone(),
                request: "ApiVersions",
                kafka_code: answer.error_code,
                name: kafka_name(answer.error_code),
            });
        }
        if let Some(found) = tags::cluster_id(&answer.unknown_tagged_fields) {
            let begun_with = *options.cluster.get_or_init(|| found);
            if found != begun_with {
                return Err(RequestError::AnotherCluster {
                    address: self.address.clone(),
                    found,
                    begun_with,
                });
            }
        }
        let versions = answer.api_keys.iter();
        Ok(versions
            .map(|api| version_range(api.api_key, api.min_version, api.max_version))
            .collect())
    }

    /// Waits for an answer, and ends the connection when it is late or the cluster has given up the
    /// SPU: what is behind it would be later still.
    async fn answer_in_time(
        &self,
        mut frame: oneshot::Receiver<Result<Bytes, RequestError>>,
        wait: Duration,
    ) -> Result<Bytes, RequestError> {
        let deadline = Instant::now() + wait;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let pause = match &self.liveness {
                Some(_) => left.min(PATIENCE),
                None => left,
            };
            match timeout(pause, &mut frame).await {
                Ok(answered) => {
                    let ended = |_| Err(self.pending.ended_by(&self.address));
                    return answered.unwrap_or_else(ended);
                }
                Err(_) if deadline <= Instant::now() => {
                    return Err(self.pending.end_late(&self.address, wait));
                }
                Err(_) => {}
            }
            if let Some(liveness) = &self.liveness
                && liveness.is_given_up(&self.address).await
            {
                let error = RequestError::GivenUp {
                    address: self.address.clone(),
                };
                self.pending.end(error.clone());
                return Err(error);
            }
        }
    }

    async fn write(
        &self,
        correlation_id: Option<i32>,
        parts: &[Bytes],
    ) -> Result<Option<oneshot::Receiver<Result<Bytes, RequestError>>>, RequestError> {
        let mut writer = self.writer.lock().await;
        // Queued before it is written, since the answer may come before the write returns, and
        // under the lock, so that the queue has the order of the requests.
        let reply = correlation_id
            .map(|id| self.pending.expect(id, &self.address))
            .transpose()?;
        let mut unfinished = EndsWhenDropped {
            pending: &self.pending,
            address: &self.address,
            armed: true,
        };
        let written = write_parts(&mut writer, parts).await;
        unfinished.armed = false;
        if let Err(error) = written {
            self.pending.end(RequestError::Disconnected {
                address: self.address.clone(),
                reason: error.to_string(),
            });
            return Err(self.pending.ended_by(&self.address));
        }
        Ok(reply)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.pending.end(RequestError::Closed);
    }
}

impl Reply {
    /// Waits for the answer to a request of `R` in `version`.
    pub(crate) async fn decode<R: ApiRequest>(
        self,
        version: i16,
        wait: Duration,
    ) -> Result<R::Response, RequestError> {
        let connection = self.connection;
        let pending = &connection.pending;
        let frame = connection.answer_in_time(self.frame, wait).await?;
        decode_response::<R>(version, frame).map_err(|error| {
            let error = connection.protocol(error.to_string());
            pending.end(error.clone());
            error
        })
    }
}

impl Pending {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn expect(
        &self,
        correlation_id: i32,
        address: &str,
    ) -> Result<oneshot::Receiver<Result<Bytes, RequestError>>, RequestError> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = self.lock();
        if waiting.ended_by.is_some() {
            // Not written at all: unlike the requests in flight, its outcome is known.
            return Err(RequestError::Connect {
                address: address.to_owned(),
                reason: "the connection broke".to_owned(),
            });
        }
        waiting.queue.push_back((correlation_id, sender));
        Ok(receiver)
    }

    /// Ends the connection: every request in flight fails with `error`.
    fn end(&self, error: RequestError) {
        let mut waiting = self.lock();
        if waiting.ended_by.is_some() {
            return;
        }
        waiting.ended_by = Some(error.clone());
        let queue = std::mem::take(&mut waiting.queue);
        drop(waiting);
        self.ended.cancel();
        for (_, sender) in queue {
            // Nobody may be waiting any more.
            let _ = sender.send(Err(error.clone()));
        }
    }

    /// Ends the connection because an answer is late: those behind it would be later still.
    fn end_late(&self, address: &str, after: Duration) -> RequestError {
        let error = RequestError::TimedOut {
            address: address.to_owned(),
            after,
        };
        self.end(error.clone());
        error
    }

    fn ended_by(&self, address: &str) -> RequestError {
        let ended_by = self.lock().ended_by.clone();
        ended_by.unwrap_or_else(|| RequestError::Disconnected {
            address: address.to_owned(),
            reason: "the connection was closed".to_owned(),
        })
    }

    async fn read_answers(&self, reader: ReadHalf, address: &str, shutdown: CancellationToken) {
        let mut frames = FrameReader::new(reader, RESPONSE_BYTES_MAX);
        let error = loop {
            let frame = tokio::select! {
                () = self.ended.cancelled() => return,
                () = shutdown.cancelled() => break RequestError::Closed,
                frame = frames.next() => frame,
            };
            let outcome = match frame {
                Ok(Some(frame)) => self.answer(frame),
                Ok(None) => Err("the SPU closed the connection".to_owned()),
                Err(error) => Err(error.to_string()),
            };
            if let Err(reason) = outcome {
                break RequestError::Disconnected {
                    address: address.to_owned(),
                    reason,
                };
            }
        };
        self.end(error);
    }

    fn answer(&self, frame: Bytes) -> Result<(), String> {
        let id = peek_correlation_id(&frame).ok_or("it sent an empty answer")?;
        let next = self.lock().queue.pop_front();
        match next {
            Some((expected, sender)) if expected == id => {
                // Nobody may be waiting any more.
                let _ = sender.send(Ok(frame));
                Ok(())
            }
            _ => Err(format!("it answered to request {id} out of turn")),
        }
    }
}

/// Ends the connection when a write is dropped half-way: the peer would take the next request for
/// the rest of this one.
struct EndsWhenDropped<'a> {
    pending: &'a Pending,
    address: &'a str,
    armed: bool,
}

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.pending.end(RequestError::Disconnected {
                address: self.address.to_owned(),
                reason: "a request was given up half-way".to_owned(),
            });
        }
    }
}

/// Writes every byte of `parts` with as few calls as the system allows.
async fn write_parts(writer: &mut WriteHalf, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        let written = writer.write_vectored(rest).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        IoSlice::advance_slices(&mut rest, written);
    }
    writer.flush().await
}

fn version_range(key: i16, min: i16, max: i16) -> VersionRange {
    VersionRange { key, min, max }
}
