//! A whole cluster under TLS: every link is, and who shows nothing is not let in.

use std::path::PathBuf;
use std::process::Output;

use thalweg_client::{
    Client, ClientOptions, ConsumerOptions, EndOffset, NewSmartModule, OnError, ProducerOptions,
    ProducerRecord, SmartModuleInvocation, StartOffset, TlsClientOptions, TlsIdentity,
};
use thalweg_tests_certificates::Authority;
use thalweg_tests_cluster::{LocalCluster, eventually};
use thalweg_types::{SpuId, TopicName};

use crate::modules::{even_offsets, failing};

/// What all servers' certificates are for, wherever they listen.
const SERVERS: &str = "servers.thalweg.test";
const SPUS: i32 = 3;

/// Certificates in a folder.
struct Papers {
    _folder: tempfile::TempDir,
    ca: String,
    user_cert: String,
    user_key: String,
    servers: Vec<String>,
}

impl Papers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new("cluster");
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        let ca = text(authority.write(folder.path().join("ca.crt")));
        let server = authority.sign(&[SERVERS], folder.path(), "server");
        let user = authority.sign(&["user"], folder.path(), "user");
        let servers = vec![
            format!("--tls-cert={}", server.cert.display()),
            format!("--tls-key={}", server.key.display()),
            format!("--tls-ca={ca}"),
            format!("--tls-client-ca={ca}"),
            format!("--tls-server-name={SERVERS}"),
        ];
        Self {
            _folder: folder,
            ca,
            user_cert: text(user.cert),
            user_key: text(user.key),
            servers,
        }
    }

    fn client(&self) -> TlsClientOptions {
        TlsClientOptions {
            ca: Some(self.ca.clone().into()),
            identity: Some(TlsIdentity {
                cert: self.user_cert.clone().into(),
                key: self.user_key.clone().into(),
            }),
            server_name: Some(SERVERS.to_owned()),
        }
    }

    fn flags(&self) -> [&str; 8] {
        [
            "--tls-ca",
            &self.ca,
            "--tls-server-name",
            SERVERS,
            "--tls-cert",
            &self.user_cert,
            "--tls-key",
            &self.user_key,
        ]
    }

    async fn cluster(&self) -> LocalCluster {
        let servers: Vec<_> = self.servers.iter().map(String::as_str).collect();
        LocalCluster::start_under_tls(SPUS, &servers, self.client()).await
    }
}

async fn produce(client: &Client, topic: &TopicName, values: impl Iterator<Item = u32>) {
    // The modules of these tests have room for no large ones.
    let options = ProducerOptions {
        batch_bytes: 16 << 10,
        ..ProducerOptions::default()
    };
    let producer = client.producer(topic, options).await.unwrap();
    for value in values {
        let value = value.to_string();
        let record = ProducerRecord::new(value.as_bytes());
        producer.enqueue(record).await.unwrap();
    }
    producer.flush().await.unwrap();
}

async fn consumed(
    client: &Client,
    topic: &TopicName,
    smartmodules: Vec<SmartModuleInvocation>,
) -> usize {
    let options = ConsumerOptions {
        start: StartOffset::Beginning,
        end: EndOffset::LogEnd,
        smartmodules,
        ..ConsumerOptions::default()
    };
    let mut consumer = client.consumer(topic, options).await.unwrap();
    let mut count = 0;
    while let Some(batch) = consumer.next_batch().await.unwrap() {
        count += batch.records().count();
    }
    count
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_modules_and_dead_letters_travel_under_tls_and_leaders_change() {
    let papers = Papers::new();
    let mut cluster = papers.cluster().await;
    let client = cluster.client().await;
    let all = [("min.insync.replicas", "2")];
    let topic = cluster
        .create_replicated_topic("orders", 1, SPUS, &all)
        .await;
    let letters = cluster.create_topic("letters", 1, &[]).await;

    // Long enough for `sendfile`, had it been without TLS, and for many of its records.
    produce(&client, &topic, 0..50_000).await;
    assert_eq!(consumed(&client, &topic, Vec::new()).await, 50_000);

    let even = NewSmartModule::new("even".parse().unwrap(), even_offsets());
    client.admin().create_smart_module(even).await.unwrap();
    let even = vec![SmartModuleInvocation::named("even")];
    // It counts within batches.
    let passing = consumed(&client, &topic, even).await;
    assert!((25_000..50_000).contains(&passing), "{passing}");
    let few = cluster.create_topic("few", 1, &[]).await;
    produce(&client, &few, 0..3).await;
    let fails = SmartModuleInvocation::wasm("fails", failing("no"));
    let fails = fails.on_error(OnError::DeadLetter(letters.clone()));
    consumed(&client, &few, vec![fails]).await;
    assert!(consumed(&client, &letters, Vec::new()).await > 0);

    let admin = client.admin();
    let leader = admin.describe_topic(&topic).await.unwrap().partitions[0]
        .status
        .leader
        .unwrap();
    cluster.take_spu(leader.0).kill();
    let next: SpuId = eventually("another leads", || async {
        let described = admin.describe_topic(&topic).await.ok()?;
        described.partitions[0]
            .status
            .leader
            .filter(|next| *next != leader)
    })
    .await;
    assert_ne!(next, leader);
    produce(&client, &topic, 50_000..50_100).await;
    assert_eq!(consumed(&client, &topic, Vec::new()).await, 50_100);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_connects_by_flags_or_by_what_a_profile_keeps() {
    let papers = Papers::new();
    let cluster = papers.cluster().await;
    cluster.create_topic("orders", 1, &[]).await;
    let list = ["topic", "list"];
    let with = |flags: &[&str]| cluster.thalweg(&[flags, &list].concat());
    let flags = papers.flags();

    let without = with(&[]);
    let untrusted = with(&["--tls", "--tls-server-name", SERVERS]);
    let another_name = with(&flags[..2]);
    let nobody = with(&flags[..4]);
    let known = with(&flags);
    let no_key = with(&flags[..6]);

    for refused in [&without, &untrusted, &another_name, &nobody] {
        assert_eq!(refused.status.code(), Some(5), "{}", stderr(refused));
    }
    assert!(
        stderr(&without).contains("--tls-ca"),
        "{}",
        stderr(&without)
    );
    let untrusted = stderr(&untrusted);
    assert!(untrusted.contains("--tls-ca"), "{untrusted}");
    let another_name = stderr(&another_name);
    assert!(another_name.contains("--tls-server-name"), "{another_name}");
    assert_eq!(known.status.code(), Some(0), "{}", stderr(&known));
    assert!(String::from_utf8_lossy(&known.stdout).contains("orders"));
    assert_eq!(no_key.status.code(), Some(2), "{}", stderr(&no_key));

    let add = ["profile", "add", "safe", cluster.sc_address()];
    let added = cluster.thalweg(&[&flags[..], &add].concat());
    assert_eq!(added.status.code(), Some(0), "{}", stderr(&added));
    let by_profile = with(&[]);
    assert_eq!(by_profile.status.code(), Some(0), "{}", stderr(&by_profile));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_without_tls_is_told_what_the_cluster_speaks() {
    let papers = Papers::new();
    let cluster = papers.cluster().await;
    let topic = cluster.create_topic("orders", 1, &[]).await;
    let plain = Client::connect(ClientOptions {
        bootstrap: vec![cluster.spu_address(0).to_owned()],
        ..ClientOptions::default()
    });
    let plain = plain.await.unwrap();

    let refused = plain.consumer(&topic, ConsumerOptions::default()).await;

    let told = refused.unwrap_err().to_string();
    assert!(told.contains("TLS"), "{told}");
}
