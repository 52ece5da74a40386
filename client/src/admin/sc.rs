//! The connection to the SC, and what its answers mean.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;

use thalweg_proto::v1::admin_client::AdminClient;
use thalweg_proto::{connect_lazily, error_code, v1};
use thalweg_runtime::net::tls::{HTTP_2, TlsClient};
use thalweg_types::TopicName;
use thalweg_types::resource::Spu;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use super::AdminError;
use crate::client::{ClientOptions, ConnectError};
use crate::data::MAY_SPEAK_TLS;

/// The largest answer that is read, in bytes: a list of some hundred thousand partitions.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The way to the SC. Connects when first used, and again whenever the connection has broken.
#[derive(Debug, Clone)]
pub(crate) struct ScClient {
    address: String,
    channel: Option<Channel>,
    is_under_tls: bool,
}

impl ScClient {
    /// The address may be empty: then every call answers [`AdminError::NoAddress`].
    pub(crate) fn new(options: &ClientOptions) -> Result<Self, ConnectError> {
        let address = &options.cluster;
        let invalid = || AdminError::InvalidAddress {
            address: address.to_owned(),
        };
        let channel = if address.is_empty() {
            None
        } else {
            let (_, port) = address.rsplit_once(':').ok_or_else(invalid)?;
            port.parse::<u16>().map_err(|_| invalid())?;
            let endpoint = Endpoint::from_shared(format!("http://{address}"))
                .map_err(|_| invalid())?
                .connect_timeout(options.connect_timeout)
                .http2_keep_alive_interval(options.request_timeout);
            let tls = options.tls.clone();
            let tls = tls
                .map(|tls| TlsClient::load(tls, Some(HTTP_2)))
                .transpose()?;
            Some(connect_lazily(&endpoint, tls.map(Arc::new)))
        };
        Ok(Self {
            address: address.to_owned(),
            channel,
            is_under_tls: options.tls.is_some(),
        })
    }

    pub(crate) fn client(&self) -> Result<AdminClient<Channel>, AdminError> {
        let channel = self.channel.clone().ok_or(AdminError::NoAddress)?;
        Ok(AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX))
    }

    /// The answer in `reply`, or why there is none.
    pub(crate) fn answered<T>(&self, reply: Result<Response<T>, Status>) -> Result<T, AdminError> {
        reply
            .map(Response::into_inner)
            .map_err(|status| self.refused(&status))
    }

    pub(crate) fn refused(&self, status: &Status) -> AdminError {
        // A status of the SC's carries our code in its metadata. One without comes from the
        // transport: nobody answered.
        let from_transport = status
            .metadata()
            .get(thalweg_proto::ERROR_CODE_ENTRY)
            .is_none()
            && (matches!(
                status.code(),
                Code::Unavailable | Code::Unknown | Code::Cancelled
            ) || is_another_protocol(status));
        if from_transport {
            let mut reason = innermost_cause(status);
            // As hyper and the system say it.
            let hung_up = ["broken pipe", "reset", "closed"];
            let hung_up = hung_up.iter().any(|how| reason.contains(how));
            if !self.is_under_tls && (hung_up || is_another_protocol(status)) {
                reason = format!("{reason}; {MAY_SPEAK_TLS}");
            }
            return AdminError::Unreachable {
                address: self.address.clone(),
                reason,
            };
        }
        AdminError::Refused {
            code: error_code(status),
            message: status.message().to_owned(),
        }
    }

    pub(crate) async fn list_spus(&self) -> Result<Vec<Spu>, AdminError> {
        let reply = self.client()?.list_spus(v1::ListSpusRequest {}).await;
        all("spus", self.answered(reply)?.spus)
    }

    /// Whether the SC knows the topic; an error with the code `NotFound` is a clear no.
    pub(crate) async fn topic_exists(&self, topic: &TopicName) -> Result<bool, AdminError> {
        let request = v1::GetTopicRequest {
            name: topic.to_string(),
        };
        let reply = self.client()?.get_topic(request).await;
        self.answered(reply).map(|reply| reply.topic.is_some())
    }

    /// The data addresses of the SPUs that the SC hears from.
    pub(crate) async fn online_spu_addresses(&self) -> Result<Vec<String>, AdminError> {
        let spus = self.list_spus().await?;
        let online = spus.into_iter().filter(Spu::is_online);
        Ok(online.map(|spu| spu.status.data_address).collect())
    }
}

/// Whether something answered, but not in HTTP/2.
fn is_another_protocol(status: &Status) -> bool {
    status.message().starts_with("h2 protocol error")
}

/// What the system said: tonic's own words are only `transport error`.
fn innermost_cause(status: &Status) -> String {
    let mut reason = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        reason = error.to_string();
        cause = error.source();
    }
    reason
}

/// A message of an answer that must be there.
pub(super) fn required<M, T>(field: &'static str, message: Option<M>) -> Result<T, AdminError>
where
    T: TryFrom<M>,
{
    message
        .and_then(|message| message.try_into().ok())
        .ok_or(AdminError::InvalidReply { field })
}

/// Every message of a list.
pub(super) fn all<M, T>(field: &'static str, messages: Vec<M>) -> Result<Vec<T>, AdminError>
where
    T: TryFrom<M>,
{
    messages
        .into_iter()
        .map(|message| {
            message
                .try_into()
                .map_err(|_| AdminError::InvalidReply { field })
        })
        .collect()
}

/// A text of an answer.
pub(super) fn parsed<T>(field: &'static str, text: &str) -> Result<T, AdminError>
where
    T: FromStr<Err: Display>,
{
    text.parse().map_err(|_| AdminError::InvalidReply { field })
}
