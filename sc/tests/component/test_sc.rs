//! An SC in this process, on a data directory and a port of its own.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use clap::Parser as _;
use tempfile::TempDir;
use thalweg_proto::v1::admin_client::AdminClient;
use thalweg_proto::v1::control_client::ControlClient;
use thalweg_proto::v1::topic_spec::Placement;
use thalweg_proto::v1::{
    ComputedPlacement, CreateTopicRequest, GetTopicRequest, GetTopicResponse, ListSpusRequest,
    Partition, Spu, Topic, TopicSpec,
};
use thalweg_runtime::SystemClock;
use thalweg_sc::{Sc, ScOptions};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

/// Longer than anything here takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct TestSc {
    sc: Option<Sc>,
    channel: Channel,
    flags: Vec<String>,
    pub(crate) directory: TempDir,
}

impl TestSc {
    /// An SC that gives nobody up for lost.
    pub(crate) async fn start() -> Self {
        Self::start_with(&["--spu-timeout=10m"]).await
    }

    pub(crate) async fn start_with(flags: &[&str]) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), flags).await
    }

    /// An SC on a directory that holds something already.
    pub(crate) async fn start_on(directory: TempDir, flags: &[&str]) -> Self {
        let flags: Vec<_> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let (sc, channel) = serve(directory.path(), &flags).await;
        Self {
            sc: Some(sc),
            channel,
            flags,
            directory,
        }
    }

    pub(crate) async fn stop(&mut self) {
        within("the SC stops", self.sc.take().unwrap().stop()).await;
    }

    /// Another SC on the same directory, at another port.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        let (sc, channel) = serve(self.directory.path(), &self.flags).await;
        self.sc = Some(sc);
        self.channel = channel;
    }

    pub(crate) fn sc(&self) -> &Sc {
        self.sc.as_ref().unwrap()
    }

    pub(crate) fn admin(&self) -> AdminClient<Channel> {
        AdminClient::new(self.channel.clone())
    }

    pub(crate) fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone())
    }

    pub(crate) async fn create_topic(
        &self,
        name: &str,
        partitions: i32,
        replication_factor: i32,
    ) -> Result<Topic, Status> {
        let request = create(name, partitions, replication_factor);
        let created = self.admin().create_topic(request).await?;
        Ok(created.into_inner().topic.unwrap())
    }

    pub(crate) async fn get_topic(&self, name: &str) -> Result<GetTopicResponse, Status> {
        let name = name.to_owned();
        let got = self.admin().get_topic(GetTopicRequest { name }).await?;
        Ok(got.into_inner())
    }

    pub(crate) async fn spus(&self) -> Vec<Spu> {
        let listed = self.admin().list_spus(ListSpusRequest {}).await.unwrap();
        listed.into_inner().spus
    }

    /// Waits until the topic's partitions are as `wanted`, and returns them.
    pub(crate) async fn until_partitions(
        &self,
        topic: &str,
        wanted: impl Fn(&[Partition]) -> bool,
    ) -> Vec<Partition> {
        let poll = async {
            loop {
                let partitions = self.get_topic(topic).await.unwrap().partitions;
                if wanted(&partitions) {
                    return partitions;
                }
                tokio::task::yield_now().await;
            }
        };
        within("partitions are as wanted", poll).await
    }
}

async fn serve(directory: &Path, flags: &[String]) -> (Sc, Channel) {
    let data_dir = format!("--data-dir={}", directory.display());
    let own = ["thalweg-sc", "--listen=127.0.0.1:0", &data_dir].map(str::to_owned);
    let options = ScOptions::parse_from(own.iter().chain(flags));
    let sc = Sc::start(&options, SystemClock::shared()).await.unwrap();
    let endpoint = format!("http://{}", sc.admin_address());
    let channel = Endpoint::from_shared(endpoint).unwrap().connect_lazy();
    (sc, channel)
}

pub(crate) fn create(name: &str, partitions: i32, replication_factor: i32) -> CreateTopicRequest {
    CreateTopicRequest {
        name: name.to_owned(),
        spec: Some(TopicSpec {
            placement: Some(Placement::Computed(ComputedPlacement {
                partitions,
                replication_factor,
            })),
            config: [].into(),
            produce_chain: None,
        }),
        validate_only: false,
    }
}

pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => done,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}
