//! The hosts that clients are on: some that work while harm is done, and one that sees to the rest.
//!
//! ```text
//! Preparing --topic is there--> Working --harm is over--> Healed --nobody moves replicas--> Quiet --all in sync--> InSync
//! ```

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Acks, Admin, Client, ClientOptions, resource};
use thalweg_nemesis::clients::{Clients, Membership, Pace, Recorder};
use thalweg_nemesis::copying::{CopyOptions, copy, read_copies};
use thalweg_nemesis::healed::{HEALED_WITHIN, all_in_sync, all_online, in_time, read_back};
use thalweg_nemesis::topics::{TopicOptions, create_topic, partitions};
use thalweg_runtime::TaskGroup;
use thalweg_tests_cluster::modules;
use thalweg_types::{SpuId, TopicName, TopicPartition};
use tokio::sync::watch;

use crate::operator::start_operator;
use crate::spu_host::DATA_PORT;

/// The group that reads the topic.
const GROUP: &str = "readers";
/// How long clients wait for an answer. What a cut takes is lost for good here, where TCP sends it again,
/// and a run is over within half a minute.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);
/// How long a consumer reads before it begins anew.
const CONSUMER_TURN: Duration = Duration::from_secs(7);
/// How large a segment of a topic gets.
const SEGMENT_BYTES: &str = "20000";
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
    /// Whether it is copied and counted by transforms.
    pub(crate) is_transformed: bool,
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
        options.request_timeout = ANSWER_WITHIN;
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
        for number in 0..MEMBERS_PER_HOST {
            let name = format!("member-{host}-{number}");
            let member = self.client(&name).await?;
            let membership = Membership {
                name,
                group: GROUP.to_owned(),
                topic: self.topic.clone(),
                turn,
            };
            clients.join_group(membership, member, self.recorder.clone());
        }
        let operator = TaskGroup::new();
        if host == 0 {
            let asker = self.client("end-watcher").await?;
            let admin = asker.admin();
            let topics = std::slice::from_ref(&self.topic);
            let asking = in_time("the topic is described", || partitions(&admin, topics));
            let partitions = asking.await?;
            let names: Vec<_> = partitions
                .iter()
                .map(resource::Partition::topic_partition)
                .collect();
            start_operator(
                admin.clone(),
                self.operated(&admin, &names).await?,
                self.spu_count,
                self.seed,
                self.recorder.clone(),
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
        let committed = self.recorder.history().commit_count();
        in_time("the group goes on", || async {
            (self.recorder.history().commit_count() > committed).then_some(())
        })
        .await?;
        let finished = tokio::time::timeout(HEALED_WITHIN, clients.finish_producing()).await;
        finished.context("producers wait for answers although all is healed")?;
        clients.finish().await;
        self.ended.send_modify(|ended| *ended += 1);
        Ok(())
    }

    /// What is moved and trimmed: the topic's partitions, and those of what transforms make of it.
    async fn operated(
        &self,
        admin: &Admin,
        names: &[TopicPartition],
    ) -> anyhow::Result<Vec<TopicPartition>> {
        let outputs = self.recorder.history().outputs();
        let asking = in_time("the outputs are described", || partitions(admin, &outputs));
        let outputs = asking.await?;
        let outputs = outputs.iter().map(resource::Partition::topic_partition);
        Ok(names.iter().cloned().chain(outputs).collect())
    }

    /// Waits until the SC hears of every SPU and has every replica in sync. One that it does not hear of may still
    /// take itself for a leader, and have an old end read.
    async fn all_back(&self, admin: &Admin) -> anyhow::Result<()> {
        let topics = std::slice::from_ref(&self.topic);
        in_time("every SPU is back", || all_online(admin, self.spu_count)).await?;
        in_time("every replica is in sync", || all_in_sync(admin, topics)).await
    }

    /// Makes the topic, waits until all is healed and in sync, and reads everything back.
    ///
    /// # Errors
    /// When something does not come true that should.
    pub(crate) async fn observe(self, host_count: usize) -> anyhow::Result<()> {
        let client = self.client("observer").await?;
        let admin = client.admin();
        let topics = std::slice::from_ref(&self.topic);
        in_time("every SPU is online", || all_online(&admin, self.spu_count)).await?;
        let options = TopicOptions {
            partitions: self.partition_count,
            durability: self.durability,
            segment_bytes: SEGMENT_BYTES,
        };
        create_topic(&admin, &self.topic, options).await?;
        if self.is_transformed {
            let options = CopyOptions {
                everything: modules::everything(),
                count: modules::counting(),
                segment_bytes: SEGMENT_BYTES,
            };
            copy(&admin, topics, options, &self.recorder).await?;
        }
        self.stage.send_replace(Stage::Working);
        self.reached(Stage::Quiet).await;
        let began = tokio::time::Instant::now();
        self.all_back(&admin).await?;
        *self.healed_after.lock().expect("nobody panics with it") = began.elapsed();
        self.stage.send_replace(Stage::InSync);
        let mut ended = self.ended.subscribe();
        ended.wait_for(|ended| *ended == host_count).await?;
        // The SC finds out late that it hears nothing of one any more, whose connections a cut has spoilt.
        self.all_back(&admin).await?;
        let group_of = |_: &TopicName| GROUP.to_owned();
        let data_dir = |spu: SpuId| self.data_dirs[usize::try_from(spu.0).unwrap_or(0)].clone();
        read_back(&client, topics, group_of, data_dir, &self.recorder).await?;
        read_copies(&client, &self.recorder).await
    }
}
