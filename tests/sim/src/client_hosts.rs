//! The hosts that clients are on: some that work while harm is done, and one that sees to the rest.
//!
//! ```text
//! Preparing --topic is there--> Working --harm is over--> Healed --nobody moves replicas--> Quiet --all in sync--> InSync
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Acks, Admin, Client, ClientOptions, NewTopic, resource};
use thalweg_nemesis::clients::{Clients, Pace, Recorder, read_log};
use thalweg_runtime::TaskGroup;
use thalweg_tests_cluster::log_bytes;
use thalweg_types::TopicName;
use thalweg_types::resource::{ReplicaPlacement, SpuState};
use tokio::sync::watch;

use crate::group_members::{GroupLog, start_member};
use crate::operator::start_operator;
use crate::spu_host::DATA_PORT;

/// How long a healed cluster may take until everything is in sync, or to answer what is asked.
const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a consumer reads before it begins anew.
const CONSUMER_TURN: Duration = Duration::from_secs(7);
/// How many members of the group each host with clients has.
const MEMBERS_PER_HOST: usize = 2;
/// Less than real clients do: what matters is when they do it.
const PACE: Pace = Pace {
    burst: 3,
    burst_interval: Duration::from_millis(40),
    ends_interval: Duration::from_millis(150),
};

/// How far a run has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The cluster starts.
    Preparing,
    /// Clients work, and harm is done.
    Working,
    /// All harm is undone.
    Healed,
    /// Nobody moves replicas any more.
    Quiet,
    /// Every replica has caught up.
    InSync,
}

/// What the hosts of a run share.
#[derive(Clone)]
pub(crate) struct Work {
    /// What topic it is about.
    pub(crate) topic: TopicName,
    /// What an acknowledgement means.
    pub(crate) durability: &'static str,
    /// Of it.
    pub(crate) partition_count: i32,
    /// Whom producers wait for.
    pub(crate) acks: Acks,
    /// What chance follows from.
    pub(crate) seed: u64,
    /// How many SPUs there are.
    pub(crate) spu_count: usize,
    /// Where their files are.
    pub(crate) data_dirs: Vec<PathBuf>,
    /// What clients did and were told.
    pub(crate) recorder: Recorder,
    /// What members of its group did and were told.
    pub(crate) group: GroupLog,
    /// How far the run has come.
    pub(crate) stage: Arc<watch::Sender<Stage>>,
    /// How many hosts with clients have ended.
    pub(crate) ended: Arc<watch::Sender<usize>>,
    /// From the end of all harm until every replica was in sync.
    pub(crate) healed_after: Arc<Mutex<Duration>>,
}

impl Work {
    async fn reached(&self, stage: Stage) {
        let mut stages = self.stage.subscribe();
        // The sender is held here.
        let _ = stages.wait_for(|now| *now >= stage).await;
    }

    async fn client(&self, name: &str) -> anyhow::Result<Client> {
        let mut options = ClientOptions::new(crate::sc_host::ADDRESS);
        options.client_id = name.to_owned();
        options.bootstrap = (0..self.spu_count)
            .map(|id| format!("spu-{id}:{DATA_PORT}"))
            .collect();
        Ok(Client::connect(options).await?)
    }

    /// One host's clients, from the beginning of the harm to its end.
    ///
    /// # Errors
    /// When a client can't be made, or is still without an answer long after all is healed.
    pub(crate) async fn clients(self, host: usize) -> anyhow::Result<()> {
        self.reached(Stage::Working).await;
        let clients = Clients::new(self.acks, PACE);
        let producer = self.client(&format!("producer-{host}")).await?;
        clients.produce(producer, self.topic.clone(), self.recorder.clone());
        let name = format!("consumer-{host}");
        let consumer = self.client(&name).await?;
        // On one host it begins anew now and then, on the others when it fails.
        let turn = if host == 0 {
            CONSUMER_TURN
        } else {
            HEALED_WITHIN * 10
        };
        clients.consume(
            name,
            consumer,
            self.topic.clone(),
            turn,
            self.recorder.clone(),
        );
        let (members, operator) = (TaskGroup::new(), TaskGroup::new());
        for number in 0..MEMBERS_PER_HOST {
            let name = format!("member-{host}-{number}");
            let member = self.client(&name).await?;
            let (topic, log) = (self.topic.clone(), self.group.clone());
            start_member(name, member, topic, log, &members);
        }
        if host == 0 {
            let asker = self.client("end-watcher").await?;
            let admin = asker.admin();
            let asking = in_time("the topic is described", || self.partitions(&admin));
            let partitions = asking.await?;
            let names: Vec<_> = partitions
                .iter()
                .map(resource::Partition::topic_partition)
                .collect();
            start_operator(
                admin.clone(),
                names.clone(),
                self.spu_count,
                self.seed,
                &operator,
            );
            for name in names {
                clients.watch_end(asker.clone(), name, self.recorder.clone());
            }
        }
        self.reached(Stage::Healed).await;
        operator.stop().await;
        if host == 0 {
            self.stage.send_replace(Stage::Quiet);
        }
        self.reached(Stage::InSync).await;
        let finished = tokio::time::timeout(HEALED_WITHIN, clients.finish_producing()).await;
        finished.context("producers wait for answers although all is healed")?;
        clients.finish().await;
        members.stop().await;
        self.ended.send_modify(|ended| *ended += 1);
        Ok(())
    }

    /// Makes the topic, waits until all is healed and in sync, and reads everything back.
    ///
    /// # Errors
    /// When something does not come true that should.
    pub(crate) async fn observe(self, host_count: usize) -> anyhow::Result<()> {
        let client = self.client("observer").await?;
        let admin = client.admin();
        in_time("every SPU is online", || self.all_online(&admin)).await?;
        self.create_topic(&admin).await?;
        self.stage.send_replace(Stage::Working);
        self.reached(Stage::Quiet).await;
        let began = tokio::time::Instant::now();
        in_time("every replica is in sync", || self.all_in_sync(&admin)).await?;
        *self.healed_after.lock().expect("nobody panics with it") = began.elapsed();
        self.stage.send_replace(Stage::InSync);
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended == host_count).await?;
        self.read_back(&client, &admin).await
    }

    async fn create_topic(&self, admin: &Admin) -> anyhow::Result<()> {
        let mut topic = NewTopic::new(self.topic.clone(), self.partition_count);
        topic.placement = ReplicaPlacement::Computed {
            partitions: self.partition_count,
            replication_factor: 3,
        };
        let settings = [
            ("durability", self.durability),
            ("min.insync.replicas", "2"),
            ("segment.bytes", "20000"),
        ];
        for (key, value) in settings {
            topic.config.set(key, value)?;
        }
        admin.create_topic(topic).await?;
        in_time("the topic has leaders", || async {
            let partitions = self.partitions(admin).await?;
            partitions
                .iter()
                .all(|partition| partition.status.leader.is_some())
                .then_some(())
        })
        .await
    }

    async fn partitions(&self, admin: &Admin) -> Option<Vec<resource::Partition>> {
        Some(admin.describe_topic(&self.topic).await.ok()?.partitions)
    }

    async fn all_online(&self, admin: &Admin) -> Option<()> {
        let spus = admin.list_spus().await.ok()?;
        let online = spus
            .iter()
            .filter(|spu| spu.status.state == SpuState::Online);
        (online.count() == self.spu_count).then_some(())
    }

    async fn all_in_sync(&self, admin: &Admin) -> Option<()> {
        let is_whole = |partition: &resource::Partition| {
            partition.status.leader.is_some()
                && partition.spec.moving.is_none()
                && partition.status.isr.len() == partition.spec.replicas.len()
        };
        let partitions = self.partitions(admin).await?;
        partitions.iter().all(is_whole).then_some(())
    }

    async fn read_back(&self, client: &Client, admin: &Admin) -> anyhow::Result<()> {
        let all = in_time("the topic is described", || self.partitions(admin)).await?;
        for partition in all {
            let name = partition.topic_partition();
            let reading = tokio::time::timeout(HEALED_WITHIN, read_log(client, &name)).await;
            let log = reading.with_context(|| format!("{name} can't be read to its end"))??;
            self.recorder.history().logs.insert(name.clone(), log);
            let same = in_time("copies are the same", || async {
                self.diverging(&partition).is_empty().then_some(())
            });
            if same.await.is_err() {
                let diverging = self.diverging(&partition);
                self.recorder.history().diverging.insert(name, diverging);
            }
        }
        Ok(())
    }

    /// The SPUs whose copies are not the first one's.
    fn diverging(&self, partition: &resource::Partition) -> Vec<String> {
        let copy = |spu: i32| {
            let spu = usize::try_from(spu).ok()?;
            log_bytes(&self.data_dirs[spu], partition.id).ok()
        };
        let replicas: Vec<_> = partition.spec.replicas.iter().map(|spu| spu.0).collect();
        let first = copy(replicas[0]);
        let others = replicas
            .into_iter()
            .filter(|spu| first.is_none() || copy(*spu) != first);
        others.map(|spu| format!("SPU {spu}")).collect()
    }
}

/// Asks until there is an answer, for as long as a healed cluster may take.
async fn in_time<T, F>(what: &str, mut probe: impl FnMut() -> F) -> anyhow::Result<T>
where
    F: Future<Output = Option<T>>,
{
    let asking = async {
        loop {
            if let Some(answer) = probe().await {
                return answer;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let answer = tokio::time::timeout(HEALED_WITHIN, asking).await;
    answer.with_context(|| format!("{what}: that did not come true within {HEALED_WITHIN:?}"))
}
