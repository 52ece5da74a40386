//! How a channel to the SC is made: over TCP or, with the feature `simulation`, over the simulation's
//! network.

use tonic::transport::{Channel, Endpoint};

/// A channel that connects when it is first used. Must be called within a tokio runtime.
#[must_use]
pub fn connect_lazily(endpoint: &Endpoint) -> Channel {
    #[cfg(not(feature = "simulation"))]
    return endpoint.connect_lazy();
    #[cfg(feature = "simulation")]
    return endpoint.connect_with_connector_lazy(simulated::Connector);
}

#[cfg(feature = "simulation")]
mod simulated {
    //! Connects to a host of the simulation.

    use std::future::Future;
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper_util::rt::TokioIo;
    use thalweg_runtime::net::TcpStream;
    use tonic::codegen::Service;
    use tonic::codegen::http::Uri;

    pub(super) struct Connector;

    impl Service<Uri> for Connector {
        type Response = TokioIo<TcpStream>;
        type Error = io::Error;
        type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

        fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, uri: Uri) -> Self::Future {
            Box::pin(async move {
                let address = uri.authority().map_or("", |authority| authority.as_str());
                TcpStream::connect(address).await.map(TokioIo::new)
            })
        }
    }
}
