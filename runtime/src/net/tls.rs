//! TLS (RFC 8446; RFC 5246 for those who know no newer), with certificates from files that may be replaced
//! while the process runs, as cert-manager and kubelet replace them.

mod from_files;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, InvalidMessage, RootCertStore,
    ServerConfig,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use self::from_files::FromFiles;
use super::{Stream, TcpStream};

/// How long the other side may take to agree.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The protocol of gRPC within TLS (RFC 9113, section 3.2). Kafka's names none.
pub const HTTP_2: &[u8] = b"h2";

/// How a server of the cluster speaks TLS, with those who connect and with those whom it connects to. Off
/// where no certificate is given.
#[derive(Debug, Clone, Default)]
#[cfg_attr(feature = "clap", derive(clap::Args))]
pub struct TlsOptions {
    /// Speaks TLS alone, with the certificate in this file (PEM; those of its authorities follow it). It
    /// is read again when it changes.
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            env = "THALWEG_TLS_CERT",
            value_name = "FILE",
            requires = "tls_key"
        )
    )]
    pub tls_cert: Option<PathBuf>,

    /// The private key of `--tls-cert` (PEM).
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            env = "THALWEG_TLS_KEY",
            value_name = "FILE",
            requires = "tls_cert"
        )
    )]
    pub tls_key: Option<PathBuf>,

    /// Lets in only who shows a certificate that one of these authorities signed (PEM). The servers of a
    /// cluster show each other their own.
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            env = "THALWEG_TLS_CLIENT_CA",
            value_name = "FILE",
            requires = "tls_cert"
        )
    )]
    pub tls_client_ca: Option<PathBuf>,

    /// The authorities of the other servers' certificates (PEM); those that this machine trusts where not
    /// given.
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            env = "THALWEG_TLS_CA",
            value_name = "FILE",
            requires = "tls_cert"
        )
    )]
    pub tls_ca: Option<PathBuf>,

    /// The name that the other servers' certificates are for, where that is not the host at which they are
    /// reached.
    #[cfg_attr(
        feature = "clap",
        arg(
            long,
            env = "THALWEG_TLS_SERVER_NAME",
            value_name = "NAME",
            requires = "tls_cert"
        )
    )]
    pub tls_server_name: Option<String>,
}

impl TlsOptions {
    fn identity(&self) -> Option<TlsIdentity> {
        Some(TlsIdentity {
            cert: self.tls_cert.clone()?,
            key: self.tls_key.clone()?,
        })
    }

    /// How to serve, where TLS is spoken.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub fn server(&self, protocol: Option<&'static [u8]>) -> Result<Option<TlsServer>, TlsError> {
        let identity = self.identity();
        let serving = identity
            .map(|identity| TlsServer::load(identity, self.tls_client_ca.clone(), protocol));
        serving.transpose()
    }

    /// How to connect to other servers of the cluster, where TLS is spoken.
    #[must_use]
    pub fn client(&self) -> Option<TlsClientOptions> {
        self.identity().map(|identity| TlsClientOptions {
            ca: self.tls_ca.clone(),
            identity: Some(identity),
            server_name: self.tls_server_name.clone(),
        })
    }
}

/// What one side shows of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// A file with its certificate and those of its authorities, PEM.
    pub cert: PathBuf,
    /// A file with the private key, PEM.
    pub key: PathBuf,
}

/// How to connect under TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsClientOptions {
    /// A file with the authorities to trust, PEM; those of this machine where `None`.
    pub ca: Option<PathBuf>,
    /// What to show a server that asks.
    pub identity: Option<TlsIdentity>,
    /// The name that a server's certificate has to be for; the host that is connected to where `None`.
    pub server_name: Option<String>,
}

/// Why certificates can't be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("failed to read `{path}`: {reason}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A file holds something else.
    #[error("`{path}` holds no {what} in PEM")]
    Empty {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// They don't fit.
    #[error("`{path}` can't be used: {reason}")]
    Unusable {
        /// The file that they begin with.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The name can be nobody's.
    #[error("`{name}` is no name that a certificate can be for")]
    ServerName {
        /// The name.
        name: String,
    },
    /// This machine says whom it trusts nowhere.
    #[error("this machine trusts no authority: name those of the cluster with `--tls-ca`")]
    NobodyTrusted,
}

/// Lets connections in under TLS.
#[derive(Debug)]
pub struct TlsServer(FromFiles<ServerConfig>);

impl TlsServer {
    /// With the certificate of `identity`, for those who show a certificate that one of `client_ca` has
    /// signed, or for all where that is `None`.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub fn load(
        identity: TlsIdentity,
        client_ca: Option<PathBuf>,
        protocol: Option<&'static [u8]>,
    ) -> Result<Self, TlsError> {
        let mut paths = vec![identity.cert.clone(), identity.key.clone()];
        paths.extend(client_ca.clone());
        let load = move || server_config(&identity, client_ca.as_deref(), protocol);
        FromFiles::load(paths, Box::new(load)).map(Self)
    }

    /// Agrees with a client.
    ///
    /// # Errors
    /// When it does not speak TLS, is silent, or shows nothing that it is let in for.
    pub async fn accept(&self, socket: TcpStream) -> io::Result<Stream> {
        let acceptor = TlsAcceptor::from(self.0.current());
        let stream = in_time(acceptor.accept(socket)).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// Connects under TLS.
#[derive(Debug)]
pub struct TlsClient {
    config: FromFiles<ClientConfig>,
    server_name: Option<ServerName<'static>>,
}

impl TlsClient {
    /// As the options say.
    ///
    /// # Errors
    /// When a file can't be read or used.
    pub fn load(
        options: TlsClientOptions,
        protocol: Option<&'static [u8]>,
    ) -> Result<Self, TlsError> {
        let server_name = options
            .server_name
            .as_deref()
            .map(server_name)
            .transpose()?;
        let mut paths: Vec<_> = options.ca.iter().cloned().collect();
        if let Some(identity) = &options.identity {
            paths.extend([identity.cert.clone(), identity.key.clone()]);
        }
        let load = move || client_config(&options, protocol);
        Ok(Self {
            config: FromFiles::load(paths, Box::new(load))?,
            server_name,
        })
    }

    /// Agrees with the server at `address`, HOST:PORT, to which `socket` is connected.
    ///
    /// # Errors
    /// When it does not speak TLS, is silent, or is not who it should be.
    pub async fn connect(&self, address: &str, socket: TcpStream) -> io::Result<Stream> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => server_name(host(address)).map_err(io::Error::other)?,
        };
        let connector = TlsConnector::from(self.config.current());
        let stream = in_time(connector.connect(name, socket)).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

/// The host of HOST:PORT; IPv6 addresses are in brackets there.
fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(name.to_owned()).map_err(|_| TlsError::ServerName {
        name: name.to_owned(),
    })
}

async fn in_time<T>(agreeing: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, agreeing).await {
        Ok(agreed) => agreed.map_err(explained),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::TimedOut,
            format!("no TLS within {HANDSHAKE_TIMEOUT:?}"),
        )),
    }
}

/// What went wrong in the words of whoever can mend it.
fn explained(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return io::Error::new(
            error.kind(),
            "the other side hung up when it was spoken to under TLS: it may not speak it",
        );
    }
    let inner = error.get_ref();
    let Some(inner) = inner.and_then(|inner| inner.downcast_ref::<Error>()) else {
        return error;
    };
    let told = match inner {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "the other side does not speak TLS".to_owned()
        }
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "nobody who is trusted has signed its certificate: name its authority with `--tls-ca`"
            .to_owned(),
        Error::InvalidCertificate(
            error @ (CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }),
        ) => format!("{error}; `--tls-server-name` says for which it has to be"),
        Error::NoCertificatesPresented
        | Error::AlertReceived(AlertDescription::CertificateRequired) => {
            "only who shows a certificate is let in: name it with `--tls-cert` and `--tls-key`"
                .to_owned()
        }
        Error::AlertReceived(alert) => {
            format!("the other side refuses our certificate or what we offer ({alert:?})")
        }
        other => other.to_string(),
    };
    io::Error::new(error.kind(), told)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn server_config(
    identity: &TlsIdentity,
    client_ca: Option<&Path>,
    protocol: Option<&'static [u8]>,
) -> Result<ServerConfig, TlsError> {
    let unusable = |path: &Path, reason: String| TlsError::Unusable {
        path: path.to_owned(),
        reason,
    };
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&identity.cert, error.to_string()))?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(roots(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let verifier = verifier.map_err(|error| unusable(path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let (certs, key) = shown(identity)?;
    let mut config = builder
        .with_single_cert(certs, key)
        .map_err(|error| unusable(&identity.cert, error.to_string()))?;
    config.alpn_protocols = protocol.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn client_config(
    options: &TlsClientOptions,
    protocol: Option<&'static [u8]>,
) -> Result<ClientConfig, TlsError> {
    let trusted = match &options.ca {
        Some(path) => roots(path)?,
        None => trusted_here()?,
    };
    let path = options.ca.clone().unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable {
            path,
            reason: error.to_string(),
        })?
        .with_root_certificates(trusted);
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (certs, key) = shown(identity)?;
            let shown = builder.with_client_auth_cert(certs, key);
            shown.map_err(|error| TlsError::Unusable {
                path: identity.cert.clone(),
                reason: error.to_string(),
            })?
        }
    };
    config.alpn_protocols = protocol.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn shown(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let certs = certificates(&identity.cert)?;
    let key = PrivateKeyDer::from_pem_slice(&read(&identity.key)?);
    let key = key.map_err(|_| TlsError::Empty {
        path: identity.key.clone(),
        what: "private key",
    })?;
    Ok((certs, key))
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| TlsError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// How programs of others are connected to by HTTPS: this machine says whom to trust, and `ca` besides. Where nobody is
/// trusted every connection fails, and those without TLS do not.
///
/// # Errors
/// When `ca` can't be read, or has no certificate.
pub fn https_client_config(ca: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut trusted = RootCertStore::empty();
    trusted.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        trusted.extend(roots(path)?.roots);
    }
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Unusable {
            path: ca.map(Path::to_owned).unwrap_or_default(),
            reason: error.to_string(),
        })?;
    Ok(builder
        .with_root_certificates(trusted)
        .with_no_client_auth())
}

/// Whom this machine trusts.
fn trusted_here() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(TlsError::NobodyTrusted);
    }
    Ok(roots)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    certificates
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| TlsError::Empty {
            path: path.to_owned(),
            what: "certificate",
        })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|error| TlsError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    })
}
