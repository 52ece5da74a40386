//! One HTTP client for all transforms of an SPU: no redirects, no proxy, bounded answers.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use thalweg_runtime::net::tls::{TlsError, https_client_config};

use super::http_request::HttpRequest;
use crate::control::WithCauses;

/// The longest body of an answer, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;
/// How large the headers of an answer are together that modules are given, in bytes.
const HEADERS_BYTES_MAX: usize = 16 << 10;
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept that nobody uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an SPU can't make requests.
#[derive(Debug, thiserror::Error)]
enum NoClient {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("failed to make the client for HTTP requests of transforms")]
    Client(#[from] reqwest::Error),
}

/// Made when the first request is, as most SPUs make none.
#[derive(Debug)]
pub(super) struct HttpClient {
    ca: Option<PathBuf>,
    client: OnceLock<Client>,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    /// As modules are given it.
    pub(super) text: Arc<[u8]>,
    /// How long whoever asks again is to wait.
    pub(super) retry_after: Option<Duration>,
}

impl Answer {
    /// Whether another attempt may be answered better.
    pub(super) fn asks_for_another(&self) -> bool {
        self.status.is_server_error() || self.status == StatusCode::TOO_MANY_REQUESTS
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoAnswer {
    /// There may be one later.
    #[error("{0}")]
    Transient(String),
    /// There would be none later, either.
    #[error("{0}")]
    Final(String),
}

impl HttpClient {
    /// Trusts whom this machine trusts, and those in the file `ca` besides.
    pub(super) fn new(ca: Option<PathBuf>) -> Self {
        Self {
            ca,
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> Result<&Client, NoClient> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(https_client_config(self.ca.as_deref())?)
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(concat!("thalweg/", env!("CARGO_PKG_VERSION")));
        let client = client.build()?;
        Ok(self.client.get_or_init(|| client))
    }

    /// Makes a request once, with these headers in place of its own, which name secrets.
    pub(super) async fn call(
        &self,
        request: &HttpRequest,
        headers: HeaderMap,
        timeout: Duration,
    ) -> Result<Answer, NoAnswer> {
        let client = self.client();
        let client = client.map_err(|error| NoAnswer::Transient(WithCauses(&error).to_string()))?;
        let sending = client
            .request(request.method.clone(), request.url.clone())
            .headers(headers)
            .body(request.body.clone())
            .timeout(timeout)
            .send();
        let response = sending.await.map_err(|error| no_answer(&error, timeout))?;
        let status = response.status();
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let text = read(response, timeout).await?.into();
        Ok(Answer {
            status,
            text,
            retry_after: retry_after.map(Duration::from_secs),
        })
    }
}

/// Status, headers and body as modules are given them.
async fn read(mut response: Response, timeout: Duration) -> Result<Vec<u8>, NoAnswer> {
    let mut text = format!("{}\n", response.status().as_u16()).into_bytes();
    for (name, value) in response.headers() {
        let line_bytes = name.as_str().len() + value.len() + 3;
        let Ok(value) = value.to_str() else { continue };
        if text.len() + line_bytes <= HEADERS_BYTES_MAX {
            text.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
    }
    text.push(b'\n');
    let body_start = text.len();
    loop {
        let chunk = response.chunk().await;
        let Some(chunk) = chunk.map_err(|error| no_answer(&error, timeout))? else {
            return Ok(text);
        };
        if text.len() - body_start + chunk.len() > BODY_BYTES_MAX {
            return Err(NoAnswer::Final(
                "the answer is longer than 1 MiB".to_owned(),
            ));
        }
        text.extend_from_slice(&chunk);
    }
}

fn no_answer(error: &reqwest::Error, timeout: Duration) -> NoAnswer {
    if error.is_timeout() {
        return NoAnswer::Transient(format!("nothing was answered within {timeout:?}"));
    }
    if error.is_builder() {
        return NoAnswer::Final(WithCauses(error).to_string());
    }
    NoAnswer::Transient(WithCauses(error).to_string())
}
