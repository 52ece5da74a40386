//! One round: a cluster, clients at work, harm by seed, healing, and the checker's word.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Acks, Admin};
use thalweg_tests_cluster::{examples, modules};
use thalweg_types::{SpuId, TopicName};

use crate::checker::{Anomaly, check};
use crate::clients::{Clients, Membership, Pace, Recorder};
use crate::copying::{CopyOptions, copy, read_copies};
use crate::faults::{Fault, plan};
use crate::harmed_cluster::HarmedCluster;
use crate::healed::{HEALED_WITHIN, all_in_sync, all_online, in_time, read_back};
use crate::history::{Answer, History};
use crate::inflict::inflict;
use crate::sandbox::Reach;
use crate::topics::{TopicOptions, create_topic};

/// How many SPUs a round's cluster has: one more than a partition has replicas, so that these can move.
pub(crate) const SPU_COUNT: i32 = 4;
/// How large a segment gets.
const SEGMENT_BYTES: &str = "200000";
/// How many members the group of each topic has.
const MEMBERS: usize = 3;
/// How long a consumer reads before it begins anew.
const CONSUMER_TURNS: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(3_600)];

/// What a round is made of.
#[derive(Debug, Clone)]
pub struct RoundOptions {
    pub seed: u64,
    /// How often harm is done.
    pub step_count: usize,
    /// Whom producers wait for.
    pub acks: Acks,
    pub reach: Reach,
    /// Where the programs of another build lie, from which the cluster is upgraded during the round.
    pub old_programs: Option<PathBuf>,
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
    let mut steps = plan(options.seed, options.step_count, options.reach, SPU_COUNT);
    let middle = steps.len() / 2;
    if let Some(step) = steps.get_mut(middle)
        && options.old_programs.is_some()
    {
        step.faults.push(Fault::RestartAll);
    }
    let fills = |fault: &Fault| matches!(fault, Fault::FillDisk(_));
    let small_disks = steps.iter().flat_map(|step| &step.faults).any(fills);
    let (reach, old_programs) = (options.reach, options.old_programs);
    let mut cluster = HarmedCluster::start(folder, SPU_COUNT, reach, small_disks, old_programs)?;
    let admin = cluster.client("admin").await?.admin();
    let spu_count = usize::try_from(SPU_COUNT)?;
    in_time("every SPU is online", || all_online(&admin, spu_count)).await?;
    let recorder = Recorder::default();
    let clients = Clients::new(options.acks, Pace::default());
    let topics = start_clients(&cluster, &admin, &clients, &recorder).await?;
    let copying = CopyOptions {
        everything: modules::everything(),
        // Every value is one word.
        count: examples::example("thalweg-smartmodule", "word_count"),
        segment_bytes: SEGMENT_BYTES,
    };
    copy(&admin, &topics, copying, &recorder).await?;
    let mut harm = Vec::new();
    for step in &steps {
        inflict(&mut cluster, &admin, &recorder, step, &mut harm).await?;
    }
    cluster.heal()?;
    in_time("no SPU is drained", || nothing_drained(&cluster, &admin)).await?;
    let clock = tokio::time::Instant::now();
    in_time("every replica is in sync", || all_in_sync(&admin, &topics)).await?;
    let healed_after = clock.elapsed();
    let finished = tokio::time::timeout(HEALED_WITHIN, clients.finish_producing()).await;
    finished.context("producers wait for answers although all is healed")?;
    clients.finish().await;

    let reader = cluster.client("reader").await?;
    let data_dir = |spu: SpuId| cluster.data_dir(spu.0);
    read_back(&reader, &topics, group_of, data_dir, &recorder).await?;
    read_copies(&reader, &recorder).await?;
    let history = std::mem::take(&mut *recorder.history());
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
        let options = TopicOptions {
            partitions: 2,
            durability,
            segment_bytes: SEGMENT_BYTES,
        };
        create_topic(admin, &topic, options).await?;
        for number in 0..MEMBERS {
            let name = format!("member-{durability}-{number}");
            let client = cluster.client(&name).await?;
            // One of them comes and goes.
            let turn = CONSUMER_TURNS[usize::from(number > 0)];
            let group = group_of(&topic);
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

/// The group that reads a topic.
fn group_of(topic: &TopicName) -> String {
    format!("readers-{topic}")
}

/// Takes back what drains were asked for: the SC may not have heard that before.
async fn nothing_drained(cluster: &HarmedCluster, admin: &Admin) -> Option<()> {
    for spu in cluster.spus() {
        admin.drain_spu(SpuId(spu), false).await.ok()?;
    }
    Some(())
}
