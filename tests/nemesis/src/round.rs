//! One round: a cluster, clients at work, harm by seed, healing, and the checker's word.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Acks, Admin, NewTopic, resource};
use thalweg_tests_cluster::log_bytes;
use thalweg_types::resource::{ReplicaPlacement, SpuState};
use thalweg_types::{SpuId, TopicName};

use crate::checker::{Anomaly, check};
use crate::clients::{Clients, Membership, Pace, Recorder, read_log};
use crate::faults::{Fault, plan};
use crate::harmed_cluster::HarmedCluster;
use crate::history::{Answer, History};
use crate::inflict::inflict;
use crate::sandbox::Reach;

/// How many SPUs a round's cluster has: one more than a partition has replicas, so that these can move.
const SPU_COUNT: i32 = 4;
const REPLICATION: i32 = 3;
/// The group that reads the topics, and how many members it has.
const GROUP: &str = "readers";
const MEMBERS: usize = 3;
/// How long a healed cluster may take until everything is in sync, or to answer what is asked.
const HEALED_WITHIN: Duration = Duration::from_secs(90);
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// How long a consumer reads before it begins anew.
const CONSUMER_TURNS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(3_600)];

/// What a round is made of.
#[derive(Debug, Clone, Copy)]
pub struct RoundOptions {
    pub seed: u64,
    /// How often harm is done.
    pub step_count: usize,
    /// Whom producers wait for.
    pub acks: Acks,
    pub reach: Reach,
}

/// What a round came to.
#[derive(Debug)]
pub struct Outcome {
    pub anomalies: Vec<Anomaly>,
    pub acknowledged_count: usize,
    /// Records of which nobody knows, as the producers were told.
    pub unknown_count: usize,
    pub read_count: usize,
    /// How many times a group was told that it has committed.
    pub commit_count: usize,
    /// From the end of all harm until every replica was in sync.
    pub healed_after: Duration,
    /// What was done, for people.
    pub harm: Vec<String>,
    /// What failed for good, as the producers were told, each once.
    pub failures: Vec<String>,
}

/// Runs a round, with all files in `folder`.
///
/// # Errors
/// When something does not come back that should: a process, a leader, an in-sync replica.
pub async fn run_round(options: RoundOptions, folder: &Path) -> anyhow::Result<Outcome> {
    let steps = plan(options.seed, options.step_count, options.reach, SPU_COUNT);
    let fills = |fault: &Fault| matches!(fault, Fault::FillDisk(_));
    let small_disks = steps.iter().flat_map(|step| &step.faults).any(fills);
    let mut cluster = HarmedCluster::start(folder, SPU_COUNT, options.reach, small_disks)?;
    let admin = cluster.client("admin").await?.admin();
    in_time("every SPU is online", || all_online(&admin)).await?;
    let recorder = Recorder::default();
    let clients = Clients::new(options.acks, Pace::default());
    let topics = start_clients(&cluster, &admin, &clients, &recorder).await?;
    let mut harm = Vec::new();
    for step in &steps {
        inflict(&mut cluster, &admin, step, &mut harm).await?;
    }
    cluster.heal()?;
    in_time("no SPU is drained", || nothing_drained(&cluster, &admin)).await?;
    let clock = tokio::time::Instant::now();
    in_time("every replica is in sync", || all_in_sync(&admin, &topics)).await?;
    let healed_after = clock.elapsed();
    let finished = tokio::time::timeout(HEALED_WITHIN, clients.finish_producing()).await;
    finished.context("producers wait for answers although all is healed")?;
    clients.finish().await;

    let mut history = std::mem::take(&mut *recorder.history());
    read_back(&cluster, &admin, &topics, &mut history).await?;
    let failures = failures(&history);
    Ok(Outcome {
        anomalies: check(&history),
        acknowledged_count: history.acknowledged_count(),
        unknown_count: history
            .sends
            .values()
            .filter(|send| is_unknown(send.answer.as_ref()))
            .count(),
        read_count: history.read_count(),
        commit_count: history.commit_count(),
        healed_after,
        harm,
        failures,
    })
}

fn is_unknown(answer: Option<&(Duration, Answer)>) -> bool {
    !matches!(
        answer,
        Some((_, Answer::Stored { .. } | Answer::Refused { .. }))
    )
}

/// What producers were told of records that were not acknowledged, each once.
fn failures(history: &History) -> Vec<String> {
    let answers = history
        .sends
        .values()
        .filter_map(|send| send.answer.as_ref());
    let mut failures: Vec<_> = answers
        .filter_map(|(_, answer)| match answer {
            Answer::Stored { .. } => None,
            Answer::Unknown { reason } => Some(format!("unknown: {reason}")),
            Answer::Refused { reason } => Some(format!("refused: {reason}")),
        })
        .collect();
    failures.sort();
    failures.dedup();
    failures
}

/// Makes a topic of each durability, and has clients work on it.
async fn start_clients(
    cluster: &HarmedCluster,
    admin: &Admin,
    clients: &Clients,
    recorder: &Recorder,
) -> anyhow::Result<Vec<TopicName>> {
    let mut topics = Vec::new();
    for durability in ["fsync", "memory"] {
        let topic: TopicName = durability.parse()?;
        create_topic(admin, &topic, durability).await?;
        for number in 0..MEMBERS {
            let name = format!("member-{durability}-{number}");
            let client = cluster.client(&name).await?;
            // One of them comes and goes.
            let turn = CONSUMER_TURNS[usize::from(number > 0)];
            let group = format!("{GROUP}-{durability}");
            clients.join_group(
                Membership {
                    name,
                    group,
                    topic: topic.clone(),
                    turn,
                },
                client,
                recorder.clone(),
            );
        }
        for number in 0..2 {
            let client = cluster
                .client(&format!("producer-{durability}-{number}"))
                .await?;
            clients.produce(client, topic.clone(), recorder.clone());
        }
        for (number, turn) in CONSUMER_TURNS.into_iter().enumerate() {
            let name = format!("consumer-{durability}-{number}");
            let client = cluster.client(&name).await?;
            clients.consume(name, client, topic.clone(), turn, recorder.clone());
        }
        for partition in admin.describe_topic(&topic).await?.partitions {
            let client = cluster.client("end-watcher").await?;
            clients.watch_end(client, partition.topic_partition(), recorder.clone());
        }
        topics.push(topic);
    }
    Ok(topics)
}

async fn create_topic(admin: &Admin, name: &TopicName, durability: &str) -> anyhow::Result<()> {
    let mut topic = NewTopic::new(name.clone(), 2);
    topic.placement = ReplicaPlacement::Computed {
        partitions: 2,
        replication_factor: REPLICATION,
    };
    let settings = [
        ("durability", durability),
        ("min.insync.replicas", "2"),
        ("segment.bytes", "200000"),
    ];
    for (key, value) in settings {
        topic.config.set(key, value)?;
    }
    admin.create_topic(topic).await?;
    in_time("the topic has leaders", || async {
        let partitions = partitions(admin, std::slice::from_ref(name)).await?;
        partitions
            .iter()
            .all(|partition| partition.status.leader.is_some())
            .then_some(())
    })
    .await
}

/// Reads every log to its end, and compares the copies.
async fn read_back(
    cluster: &HarmedCluster,
    admin: &Admin,
    topics: &[TopicName],
    history: &mut History,
) -> anyhow::Result<()> {
    let client = cluster.client("reader").await?;
    let all = in_time("the topics are described", || partitions(admin, topics)).await?;
    for partition in all {
        let name = partition.topic_partition();
        let reading = tokio::time::timeout(HEALED_WITHIN, read_log(&client, &name)).await;
        let log = reading.with_context(|| format!("{name} can't be read to its end"))?;
        history.logs.insert(name.clone(), log?);
        let group = format!("{GROUP}-{}", name.topic);
        let committed = in_time("the group's offsets are told", || async {
            client.admin().group_offsets(&group).await.ok()
        });
        if let Some(reading) = history.groups.get_mut(&name) {
            reading.committed = committed.await?.get(&name).copied();
        }
        let same = in_time("copies are the same", || async {
            diverging(cluster, &partition).is_empty().then_some(())
        });
        if same.await.is_err() {
            history
                .diverging
                .insert(name, diverging(cluster, &partition));
        }
    }
    Ok(())
}

/// The SPUs whose copies are not the first one's.
fn diverging(cluster: &HarmedCluster, partition: &resource::Partition) -> Vec<String> {
    let copy = |spu: i32| log_bytes(&cluster.data_dir(spu), partition.id).ok();
    let replicas = partition.spec.replicas.iter();
    let first = replicas.clone().next().and_then(|spu| copy(spu.0));
    let others = replicas.filter(|spu| first.is_none() || copy(spu.0) != first);
    others.map(|spu| format!("SPU {spu}")).collect()
}

/// Takes back what drains were asked for: the SC may not have heard that before.
async fn nothing_drained(cluster: &HarmedCluster, admin: &Admin) -> Option<()> {
    for spu in cluster.spus() {
        admin.drain_spu(SpuId(spu), false).await.ok()?;
    }
    Some(())
}

async fn all_online(admin: &Admin) -> Option<()> {
    let spus = admin.list_spus().await.ok()?;
    let online = spus
        .iter()
        .filter(|spu| spu.status.state == SpuState::Online)
        .count();
    (i32::try_from(online) == Ok(SPU_COUNT)).then_some(())
}

async fn all_in_sync(admin: &Admin, topics: &[TopicName]) -> Option<()> {
    let partitions = partitions(admin, topics).await?;
    let is_whole = |partition: &resource::Partition| {
        partition.status.leader.is_some()
            && partition.spec.moving.is_none()
            && partition.status.isr.len() == partition.spec.replicas.len()
    };
    partitions.iter().all(is_whole).then_some(())
}

/// All partitions of the topics, one topic after the other.
pub(crate) async fn partitions(
    admin: &Admin,
    topics: &[TopicName],
) -> Option<Vec<resource::Partition>> {
    let mut partitions = Vec::new();
    for topic in topics {
        partitions.extend(admin.describe_topic(topic).await.ok()?.partitions);
    }
    Some(partitions)
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
