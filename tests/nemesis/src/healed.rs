//! What is asked of a cluster that all harm is over for: that everything comes back in sync, and can be
//! read back.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use thalweg_client::{Admin, Client, resource};
use thalweg_record::BatchHeader;
use thalweg_tests_cluster::log_bytes;
use thalweg_types::resource::SpuState;
use thalweg_types::{Offset, SpuId, TopicName};

use crate::clients::{Recorder, read_log};
use crate::topics::partitions;

/// How long a healed cluster may take until everything is in sync, or to answer what is asked.
pub const HEALED_WITHIN: Duration = Duration::from_secs(120);
/// How often it is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Asks until there is an answer, for as long as a healed cluster may take.
///
/// # Errors
/// When there is none by then.
pub async fn in_time<T, F>(what: &str, mut probe: impl FnMut() -> F) -> anyhow::Result<T>
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

/// Whether so many SPUs are online; `None` while they are not.
pub async fn all_online(admin: &Admin, spu_count: usize) -> Option<()> {
    let spus = admin.list_spus().await.ok()?;
    let online = spus
        .iter()
        .filter(|spu| spu.status.state == SpuState::Online);
    (online.count() == spu_count).then_some(())
}

/// Whether every replica of the topics is in sync; `None` while one is not.
pub async fn all_in_sync(admin: &Admin, topics: &[TopicName]) -> Option<()> {
    let partitions = partitions(admin, topics).await?;
    let is_whole = |partition: &resource::Partition| {
        partition.status.leader.is_some()
            && partition.spec.moving.is_none()
            && partition.status.isr.len() == partition.spec.replicas.len()
    };
    partitions.iter().all(is_whole).then_some(())
}

/// Reads every log to its end and what groups have committed, and compares the copies. The group that
/// reads a topic is named by `group_of`.
///
/// # Errors
/// When something can't be read.
pub async fn read_back(
    client: &Client,
    topics: &[TopicName],
    group_of: impl Fn(&TopicName) -> String,
    data_dir: impl Fn(SpuId) -> PathBuf,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    let admin = client.admin();
    let all = in_time("the topics are described", || partitions(&admin, topics)).await?;
    for partition in all {
        let name = partition.topic_partition();
        let reading = tokio::time::timeout(HEALED_WITHIN, read_log(client, &name)).await;
        let log = reading.with_context(|| format!("{name} can't be read to its end"))??;
        let start = log.first().map_or(Offset::ZERO, |first| first.0);
        recorder.history().logs.insert(name.clone(), log);
        let group = group_of(&name.topic);
        let committed = in_time("the group's offsets are told", || async {
            admin.group_offsets(&group).await.ok()
        });
        let committed = committed.await?.get(&name).copied();
        if let Some(reading) = recorder.history().groups.get_mut(&name) {
            reading.committed = committed;
        }
        let same = in_time("copies are the same", || async {
            let diverging = diverging(&partition, start, &data_dir);
            diverging.is_empty().then_some(())
        });
        if same.await.is_err() {
            let copies = diverging(&partition, start, &data_dir);
            recorder.history().diverging.insert(name, copies);
        }
    }
    Ok(())
}

/// The SPUs whose copies are not the first one's, from the batch on that the log starts in: what comes before
/// it somebody had deleted, and a copy may still hold some of it.
fn diverging(
    partition: &resource::Partition,
    start: Offset,
    data_dir: &impl Fn(SpuId) -> PathBuf,
) -> Vec<String> {
    let replicas = partition.spec.replicas.iter();
    let copies: Vec<_> = replicas
        .map(|spu| (spu, log_bytes(&data_dir(*spu), partition.id).ok()))
        .collect();
    let held = copies.iter().filter_map(|(_, copy)| copy.as_deref());
    // Nobody looks at what was deleted, so that it may be damaged in some.
    let kept_bytes = held.map(|copy| kept_bytes(copy, start)).min().unwrap_or(0);
    let kept = |copy: &Option<Vec<u8>>| {
        let copy = copy.as_deref()?;
        copy.len()
            .checked_sub(kept_bytes)
            .map(|from| copy[from..].to_vec())
    };
    let first = copies.first().and_then(|(_, copy)| kept(copy));
    let others = copies
        .iter()
        .filter(|(_, copy)| first.is_none() || kept(copy) != first);
    others.map(|(spu, _)| format!("SPU {spu}")).collect()
}

/// How many bytes a copy has from the batch on that an offset is in.
fn kept_bytes(copy: &[u8], start: Offset) -> usize {
    let mut position = 0;
    while let Some(rest) = copy.get(position..)
        && let Ok(header) = BatchHeader::parse(rest)
        && header.next_offset() <= start
    {
        position += header.size_bytes();
    }
    copy.len().saturating_sub(position)
}
