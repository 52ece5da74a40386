//! A client that sends exactly what a test says.

use std::net::SocketAddr;
use std::time::Duration;

use thalweg_wire::{
    ApiRequest, Bytes, FrameReader, decode_response, encode_request, peek_correlation_id,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

const WAIT: Duration = Duration::from_secs(20);

/// One connection.
pub(crate) struct RawClient {
    reader: FrameReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    next_id: i32,
}

impl RawClient {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (reading, writer) = TcpStream::connect(address).await.unwrap().into_split();
        Self {
            reader: FrameReader::new(reading, 1 << 30),
            writer,
            next_id: 1,
        }
    }

    /// Sends and waits for the answer.
    pub(crate) async fn call<R: ApiRequest>(&mut self, request: &R, version: i16) -> R::Response {
        let id = self.send(request, version).await;
        self.receive::<R>(id, version).await
    }

    /// Sends without waiting; returns the correlation id.
    pub(crate) async fn send<R: ApiRequest>(&mut self, request: &R, version: i16) -> i32 {
        let id = self.next_id;
        self.next_id += 1;
        let frame = encode_request(request, version, id, "test").unwrap();
        self.send_bytes(&frame).await;
        id
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.writer.write_all(bytes).await.unwrap();
    }

    /// Waits for the answer to the request with that correlation id, which must be the next.
    pub(crate) async fn receive<R: ApiRequest>(&mut self, id: i32, version: i16) -> R::Response {
        let frame = self
            .frame()
            .await
            .expect("the SPU hung up instead of answering");
        assert_eq!(
            peek_correlation_id(&frame),
            Some(id),
            "answers come in order"
        );
        decode_response::<R>(version, frame).unwrap()
    }

    /// The next frame; `None` when the SPU has hung up.
    pub(crate) async fn frame(&mut self) -> Option<Bytes> {
        tokio::time::timeout(WAIT, self.reader.next())
            .await
            .expect("the SPU answers or hangs up")
            .unwrap_or(None)
    }

    pub(crate) async fn assert_hung_up(&mut self) {
        assert_eq!(self.frame().await, None);
    }
}
