use std::path::Path;
use std::time::Duration;

use thalweg_tests_certificates::{Authority, Signed};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::net::TcpListener;

const HOST: &str = "127.0.0.1";

impl From<Signed> for TlsIdentity {
    fn from(signed: Signed) -> Self {
        Self {
            cert: signed.cert,
            key: signed.key,
        }
    }
}

struct Folder {
    dir: tempfile::TempDir,
    authority: Authority,
}

impl Folder {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            authority: Authority::new("tests"),
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn ca(&self) -> PathBuf {
        self.authority.write(self.path().join("ca.crt"))
    }

    fn identity(&self, names: &[&str], name: &str) -> TlsIdentity {
        self.authority.sign(names, self.path(), name).into()
    }

    fn server(&self, client_ca: Option<PathBuf>) -> TlsServer {
        TlsServer::load(self.identity(&[HOST], "server"), client_ca, None).unwrap()
    }

    fn client(&self, options: TlsClientOptions) -> TlsClient {
        let ca = options.ca.or(Some(self.ca()));
        TlsClient::load(TlsClientOptions { ca, ..options }, None).unwrap()
    }
}

/// What a client that sends `hello` gets back from a server that sends back what it gets.
async fn echoed(server: &TlsServer, client: &TlsClient) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = async {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = server.accept(socket).await?;
        let mut bytes = [0; 5];
        stream.read_exact(&mut bytes).await?;
        let (_, mut writing) = stream.into_split();
        writing.write_all(&bytes).await?;
        writing.shutdown().await
    };
    let asking = async {
        let socket = TcpStream::connect(&address).await.unwrap();
        let mut stream = client.connect(&address, socket).await?;
        stream.write_all(b"hello").await?;
        stream.flush().await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    let (_served, answer) = tokio::join!(serving, asking);
    answer
}

async fn refusal(server: &TlsServer, client: &TlsClient) -> String {
    echoed(server, client).await.unwrap_err().to_string()
}

#[tokio::test]
async fn both_sides_agree_by_address_or_by_the_name_that_is_said() {
    let folder = Folder::new();
    let server = folder.server(None);
    let by_address = folder.client(TlsClientOptions::default());
    assert_eq!(echoed(&server, &by_address).await.unwrap(), "hello");

    let named = folder.identity(&["main-sc.prod.svc"], "named");
    let named = TlsServer::load(named, None, None).unwrap();
    let told = refusal(&named, &by_address).await;
    assert!(told.contains("--tls-server-name"), "{told}");
    let by_name = folder.client(TlsClientOptions {
        server_name: Some("main-sc.prod.svc".to_owned()),
        ..TlsClientOptions::default()
    });
    assert_eq!(echoed(&named, &by_name).await.unwrap(), "hello");
}

#[tokio::test]
async fn a_server_that_nobody_trusted_has_signed_is_refused() {
    let (folder, stranger) = (Folder::new(), Folder::new());
    let client = folder.client(TlsClientOptions::default());

    let told = refusal(&stranger.server(None), &client).await;

    assert!(told.contains("--tls-ca"), "{told}");
}

#[tokio::test]
async fn clients_show_what_they_are_let_in_for_where_that_is_asked() {
    let (folder, stranger) = (Folder::new(), Folder::new());
    let server = folder.server(Some(folder.ca()));
    let with = |identity| {
        folder.client(TlsClientOptions {
            identity,
            ..TlsClientOptions::default()
        })
    };

    let nothing = refusal(&server, &with(None)).await;
    assert!(nothing.contains("CertificateRequired"), "{nothing}");
    let unknown = with(Some(stranger.identity(&["me"], "me")));
    refusal(&server, &unknown).await;
    let known = with(Some(folder.identity(&["me"], "me")));
    assert_eq!(echoed(&server, &known).await.unwrap(), "hello");
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_from_who_is_not_trusted() {
    let folder = Folder::new();
    let client = folder.client(TlsClientOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (connected, accepted) = tokio::join!(TcpStream::connect(&address), listener.accept());
    let (mut plain, _) = accepted.unwrap();
    plain.write_all(b"HTTP/1.1 400\r\n").await.unwrap();

    let told = client.connect(&address, connected.unwrap()).await;

    let told = told.unwrap_err().to_string();
    assert!(told.contains("does not speak TLS"), "{told}");
    let (connected, accepted) = tokio::join!(TcpStream::connect(&address), listener.accept());
    connected.unwrap().write_all(&[0; 16]).await.unwrap();
    let told = folder.server(None).accept(accepted.unwrap().0).await;
    let told = told.unwrap_err().to_string();
    assert!(told.contains("does not speak TLS"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn certificates_that_are_replaced_are_used_and_broken_ones_are_not() {
    let (folder, next) = (Folder::new(), Folder::new());
    let server = folder.server(None);
    let old = folder.client(TlsClientOptions::default());
    let new = TlsClient::load(
        TlsClientOptions {
            ca: Some(next.ca()),
            ..TlsClientOptions::default()
        },
        None,
    );
    let new = new.unwrap();
    assert_eq!(echoed(&server, &old).await.unwrap(), "hello");
    let look_again = Duration::from_secs(2);

    std::fs::write(folder.path().join("server.crt"), "half of a").unwrap();
    tokio::time::advance(look_again).await;
    assert_eq!(echoed(&server, &old).await.unwrap(), "hello");

    let _ = next.authority.sign(&[HOST], folder.path(), "server");
    tokio::time::advance(look_again).await;
    assert_eq!(echoed(&server, &new).await.unwrap(), "hello");
    refusal(&server, &old).await;
}

#[test]
fn files_that_are_of_no_use_are_named() {
    let folder = Folder::new();
    let load = |identity: TlsIdentity| TlsServer::load(identity, None, None).unwrap_err();
    let good = folder.identity(&[HOST], "server");
    let other = folder.identity(&[HOST], "other");
    let of = |cert: &PathBuf, key: &PathBuf| TlsIdentity {
        cert: cert.clone(),
        key: key.clone(),
    };

    let missing = load(of(&folder.path().join("none"), &good.key)).to_string();
    assert!(missing.contains("none"), "{missing}");
    let no_key = load(of(&good.cert, &good.cert)).to_string();
    assert!(no_key.contains("holds no private key"), "{no_key}");
    let no_cert = load(of(&good.key, &good.key)).to_string();
    assert!(no_cert.contains("holds no certificate"), "{no_cert}");
    let others = load(of(&good.cert, &other.key));
    assert!(matches!(others, TlsError::Unusable { .. }), "{others}");
    let nobody = TlsClientOptions {
        server_name: Some("no name".to_owned()),
        ..TlsClientOptions::default()
    };
    let nobody = TlsClient::load(nobody, None).unwrap_err();
    assert!(matches!(nobody, TlsError::ServerName { .. }), "{nobody}");
}
