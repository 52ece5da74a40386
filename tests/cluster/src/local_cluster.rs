//! One SC and some SPUs in a folder that goes when the cluster does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use thalweg_client::{Client, ClientOptions, NewTopic, TlsClientOptions};
use thalweg_types::TopicName;
use thalweg_types::resource::{ReplicaPlacement, SpuState};

use crate::node::program_path;
use crate::{Node, eventually};

/// A cluster whose processes a test can stop, kill and start again, each on its own.
#[derive(Debug)]
pub struct LocalCluster {
    folder: tempfile::TempDir,
    sc: Option<Node>,
    sc_address: String,
    spus: BTreeMap<i32, Node>,
    spu_addresses: BTreeMap<i32, String>,
    /// More arguments for the SC, and for every SPU.
    sc_arguments: Vec<String>,
    spu_arguments: Vec<String>,
    /// How clients connect, where not without TLS.
    tls: Option<TlsClientOptions>,
}

impl LocalCluster {
    /// Starts an SC and `spu_count` SPUs, and waits until the SC has them all online.
    ///
    /// # Panics
    /// When a process can't be started.
    pub async fn start(spu_count: i32) -> Self {
        Self::start_with(spu_count, &[]).await
    }

    /// As [`LocalCluster::start`], with more arguments for every SPU.
    ///
    /// # Panics
    /// When a process can't be started.
    pub async fn start_with(spu_count: i32, spu_arguments: &[&str]) -> Self {
        Self::start_configured(spu_count, &[], spu_arguments).await
    }

    /// As [`LocalCluster::start`], with more arguments for the SC and for every SPU.
    ///
    /// # Panics
    /// When a process can't be started.
    pub async fn start_configured(
        spu_count: i32,
        sc_arguments: &[&str],
        spu_arguments: &[&str],
    ) -> Self {
        let owned = |arguments: &[&str]| arguments.iter().map(|text| (*text).to_owned()).collect();
        let cluster = Self {
            sc_arguments: owned(sc_arguments),
            spu_arguments: owned(spu_arguments),
            ..Self::around("127.0.0.1:0")
        };
        cluster.started(spu_count).await
    }

    /// As [`LocalCluster::start`], under TLS: the servers have the arguments `tls`, and clients connect as `client`
    /// says.
    ///
    /// # Panics
    /// When a process can't be started.
    pub async fn start_under_tls(spu_count: i32, tls: &[&str], client: TlsClientOptions) -> Self {
        let owned: Vec<String> = tls.iter().map(|text| (*text).to_owned()).collect();
        let cluster = Self {
            sc_arguments: owned.clone(),
            spu_arguments: owned,
            tls: Some(client),
            ..Self::around("127.0.0.1:0")
        };
        cluster.started(spu_count).await
    }

    async fn started(mut self, spu_count: i32) -> Self {
        self.start_sc();
        for id in 0..spu_count {
            self.start_spu(id);
        }
        self.all_online().await;
        self
    }

    /// SPUs, as many as the test starts, around an SC at `sc_address` that the test has itself.
    ///
    /// # Panics
    /// When there is no room for a folder.
    #[must_use]
    pub fn around(sc_address: &str) -> Self {
        Self {
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
            sc: None,
            sc_address: sc_address.to_owned(),
            spus: BTreeMap::new(),
            spu_addresses: BTreeMap::new(),
            sc_arguments: Vec::new(),
            spu_arguments: Vec::new(),
            tls: None,
        }
    }

    /// Starts the SC, where it was before.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_sc(&mut self) {
        let mut arguments = vec![
            format!("--listen={}", self.sc_address),
            format!("--data-dir={}", self.path("sc").display()),
        ];
        arguments.extend(self.sc_arguments.iter().cloned());
        let sc = Node::start("thalweg-sc", &arguments, &self.path("sc.log"))
            .unwrap_or_else(|error| panic!("the SC does not start: {error:#}"));
        self.sc_address = sc.ready_field("admin").to_owned();
        self.sc = Some(sc);
    }

    /// Starts an SPU, where it was before.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start_spu(&mut self, id: i32) {
        if let Err(error) = self.try_start_spu(id) {
            panic!("SPU {id} does not start: {error:#}");
        }
    }

    /// Starts an SPU, where it was before.
    ///
    /// # Errors
    /// When it does not come up: with the end of its log.
    pub fn try_start_spu(&mut self, id: i32) -> anyhow::Result<()> {
        let arguments = self.spu_arguments(id, &self.path(&format!("spu-{id}")));
        let spu = Node::start(
            "thalweg-spu",
            &arguments,
            &self.path(&format!("spu-{id}.log")),
        )?;
        self.spu_addresses
            .insert(id, spu.ready_field("data").to_owned());
        self.spus.insert(id, spu);
        Ok(())
    }

    /// What an SPU of this cluster is started with.
    #[must_use]
    pub fn spu_arguments(&self, id: i32, data_dir: &Path) -> Vec<String> {
        let listen = self
            .spu_addresses
            .get(&id)
            .map_or("127.0.0.1:0", String::as_str);
        let mut arguments = vec![
            format!("--id={id}"),
            format!("--sc={}", self.sc_address),
            format!("--listen={listen}"),
            format!("--data-dir={}", data_dir.display()),
        ];
        arguments.extend(self.spu_arguments.iter().cloned());
        arguments
    }

    /// A path in the cluster's folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes the SC, to kill or stop it.
    ///
    /// # Panics
    /// When it is not running.
    pub fn take_sc(&mut self) -> Node {
        self.sc.take().expect("the SC is running")
    }

    /// Takes an SPU, to kill or stop it.
    ///
    /// # Panics
    /// When it is not running.
    pub fn take_spu(&mut self, id: i32) -> Node {
        self.spus.remove(&id).expect("the SPU is running")
    }

    /// A running SPU.
    ///
    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn spu(&self, id: i32) -> &Node {
        &self.spus[&id]
    }

    /// `HOST:PORT` of the SC.
    #[must_use]
    pub fn sc_address(&self) -> &str {
        &self.sc_address
    }

    /// `HOST:PORT` of an SPU's data port.
    ///
    /// # Panics
    /// When it was never started.
    #[must_use]
    pub fn spu_address(&self, id: i32) -> &str {
        &self.spu_addresses[&id]
    }

    /// Runs `thalweg` against this cluster, as a user would at a shell, until it ends.
    ///
    /// # Panics
    /// When it can't be run.
    #[must_use]
    pub fn thalweg(&self, arguments: &[&str]) -> Output {
        self.thalweg_command(arguments)
            .output()
            .expect("the command can be started")
    }

    /// As [`LocalCluster::thalweg`], to be started by the test.
    ///
    /// # Panics
    /// When the program is not there.
    #[must_use]
    pub fn thalweg_command(&self, arguments: &[&str]) -> Command {
        let path = program_path("thalweg").unwrap_or_else(|error| panic!("{error:#}"));
        let mut command = Command::new(path);
        command
            .args(["--cluster", &self.sc_address])
            .args(arguments)
            .env("THALWEG_CONFIG", self.path("no-profiles.toml"))
            .stdin(Stdio::null());
        command
    }

    /// A client that knows the SC and every SPU.
    ///
    /// # Panics
    /// When it can't be made.
    pub async fn client(&self) -> Client {
        let mut options = ClientOptions::new(&self.sc_address);
        options.bootstrap = self.spu_addresses.values().cloned().collect();
        options.tls = self.tls.clone();
        Client::connect(options)
            .await
            .expect("a client with bootstrap addresses needs nobody")
    }

    /// Creates a topic and waits until every partition has a leader.
    ///
    /// # Panics
    /// When the topic is refused.
    pub async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        config: &[(&str, &str)],
    ) -> TopicName {
        self.create_replicated_topic(name, partitions, 1, config)
            .await
    }

    /// As [`LocalCluster::create_topic`], with several replicas.
    ///
    /// # Panics
    /// When the topic is refused.
    pub async fn create_replicated_topic(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i32,
        config: &[(&str, &str)],
    ) -> TopicName {
        let name: TopicName = name.parse().expect("the test's name is allowed");
        let mut topic = NewTopic::new(name.clone(), partitions);
        topic.placement = ReplicaPlacement::Computed {
            partitions,
            replication_factor,
        };
        for (key, value) in config {
            topic
                .config
                .set(key, value)
                .expect("the test's setting is allowed");
        }
        let admin = self.client().await.admin();
        admin
            .create_topic(topic)
            .await
            .expect("the topic is created");
        eventually("the topic has leaders", || async {
            let described = admin.describe_topic(&name).await.ok()?;
            described
                .partitions
                .iter()
                .all(|partition| partition.status.leader.is_some())
                .then_some(())
        })
        .await;
        name
    }

    /// Waits until the SC has every running SPU online.
    pub async fn all_online(&self) {
        let admin = self.client().await.admin();
        eventually("every SPU is online", || async {
            let spus = admin.list_spus().await.ok()?;
            let online = spus
                .iter()
                .filter(|spu| spu.status.state == SpuState::Online)
                .count();
            (online == self.spus.len()).then_some(())
        })
        .await;
    }
}
