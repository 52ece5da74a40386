//! How a channel to the SC is made: over this process' network, under TLS where that is asked for.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use thalweg_runtime::net::tls::TlsClient;
use thalweg_runtime::net::{Stream, TcpStream};
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

/// A channel that connects when it is first used, under TLS with `tls`, which has to name the protocol
/// [`HTTP_2`](thalweg_runtime::net::tls::HTTP_2). Must be called within a tokio runtime.
#[must_use]
pub fn connect_lazily(endpoint: &Endpoint, tls: Option<Arc<TlsClient>>) -> Channel {
    endpoint.connect_with_connector_lazy(Connector(tls))
}

struct Connector(Option<Arc<TlsClient>>);

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let tls = self.0.clone();
        Box::pin(async move {
            let address = uri.authority().map_or("", |authority| authority.as_str());
            let socket = TcpStream::connect(address).await?;
            socket.set_nodelay(true)?;
            let stream = match tls {
                Some(tls) => tls.connect(address, socket).await?,
                None => Stream::Plain(socket),
            };
            Ok(TokioIo::new(stream))
        })
    }
}
