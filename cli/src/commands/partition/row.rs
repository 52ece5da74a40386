//! One partition as `partition list` and `topic describe` show it.

use futures::stream::{self, StreamExt};
use serde::Serialize;
use thalweg_client::resource::{Partition, PartitionState, ReplicaMove};
use thalweg_client::{Admin, FailedReplica};
use thalweg_types::{LeaderEpoch, Offset, PartitionIndex, SpuId, TopicName};

use crate::output::Table;

/// How many leaders are asked for their offsets at once.
const OFFSET_QUERIES: usize = 16;

/// A partition and the offsets that its leader holds.
#[derive(Debug, Serialize)]
pub(crate) struct PartitionRow {
    topic: TopicName,
    partition: PartitionIndex,
    state: PartitionState,
    /// Why it is offline; empty while it has a leader.
    reason: String,
    leader: Option<SpuId>,
    leader_epoch: LeaderEpoch,
    replicas: Vec<SpuId>,
    isr: Vec<SpuId>,
    /// The move of replicas that is under way.
    moving: Option<ReplicaMove>,
    /// Replicas that have failed.
    failed: Vec<FailedRow>,
    /// How often a replica that was not in sync was made leader.
    unclean_elections: u32,
    /// The first offset that is kept; nothing where the leader can't be asked.
    log_start: Option<Offset>,
    /// The offset up to which consumers read.
    log_end: Option<Offset>,
}

/// A replica that has failed.
#[derive(Debug, Serialize)]
struct FailedRow {
    spu: SpuId,
    reason: String,
    /// Whether it was removed and is copied from the leader anew.
    is_refilling: bool,
}

/// Asks the leaders of `partitions` for their offsets; one that can't be asked leaves a gap. `failed`
/// are replicas of any.
pub(crate) async fn partition_rows(
    admin: &Admin,
    partitions: Vec<Partition>,
    failed: &[FailedReplica],
) -> Vec<PartitionRow> {
    let mut rows: Vec<_> = stream::iter(partitions)
        .map(|partition| partition_row(admin, partition, failed))
        .buffer_unordered(OFFSET_QUERIES)
        .collect()
        .await;
    rows.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    rows
}

async fn partition_row(
    admin: &Admin,
    partition: Partition,
    failed: &[FailedReplica],
) -> PartitionRow {
    let name = partition.topic_partition();
    let failed = failed.iter().filter(|failed| failed.partition == name);
    let state = partition.status.state();
    let offsets = match state {
        PartitionState::Online => admin.partition_offsets(&name).await.ok(),
        PartitionState::Offline => None,
    };
    PartitionRow {
        topic: partition.topic,
        partition: partition.id.partition,
        state,
        reason: partition.status.reason,
        leader: partition.status.leader,
        leader_epoch: partition.status.leader_epoch,
        replicas: partition.spec.replicas,
        isr: partition.status.isr,
        moving: partition.spec.moving,
        failed: failed
            .map(|failed| FailedRow {
                spu: failed.spu,
                reason: failed.reason.clone(),
                is_refilling: failed.is_refilling,
            })
            .collect(),
        unclean_elections: partition.status.unclean_elections,
        log_start: offsets.as_ref().map(|offsets| offsets.start),
        log_end: offsets.map(|offsets| offsets.end),
    }
}

/// For people.
pub(crate) fn partition_table(rows: &[PartitionRow]) -> String {
    let mut table = Table::new([
        "TOPIC",
        "PARTITION",
        "STATE",
        "LEADER",
        "EPOCH",
        "REPLICAS",
        "ISR",
        "LOG START",
        "LOG END",
    ]);
    for row in rows {
        let state = match row.state {
            PartitionState::Online => "online",
            PartitionState::Offline => "offline",
        };
        table.row([
            row.topic.to_string(),
            row.partition.to_string(),
            state.to_owned(),
            or_dash(row.leader),
            row.leader_epoch.to_string(),
            spu_list(&row.replicas),
            spu_list(&row.isr),
            or_dash(row.log_start),
            or_dash(row.log_end),
        ]);
    }
    let notes = rows.iter().flat_map(notes);
    std::iter::once(table.text())
        .chain(notes)
        .collect::<Vec<_>>()
        .join("\n")
}

/// What there is to say of a partition beside its row.
fn notes(row: &PartitionRow) -> Vec<String> {
    let name = format!("{}-{}", row.topic, row.partition);
    let mut notes = Vec::new();
    if !row.reason.is_empty() {
        notes.push(format!("{name} is offline: {}", row.reason));
    }
    if let Some(ReplicaMove { from, to }) = &row.moving {
        let added: Vec<_> = to.iter().filter(|spu| !from.contains(spu)).collect();
        let in_sync = added.iter().filter(|spu| row.isr.contains(spu)).count();
        notes.push(format!(
            "{name} is moving from {} to {}: {in_sync} of {} new replicas in sync",
            spu_list(from),
            spu_list(to),
            added.len()
        ));
    }
    for FailedRow {
        spu,
        reason,
        is_refilling,
    } in &row.failed
    {
        notes.push(if *is_refilling {
            format!("{name} is copied to SPU {spu} anew, where it had failed: {reason}")
        } else {
            format!("{name} has failed on SPU {spu}: {reason}")
        });
    }
    match row.unclean_elections {
        0 => {}
        1 => notes.push(format!(
            "{name} had an unclean election: records may have been lost"
        )),
        count => notes.push(format!(
            "{name} had {count} unclean elections: records may have been lost"
        )),
    }
    notes
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn spu_list(spus: &[SpuId]) -> String {
    let ids: Vec<_> = spus.iter().map(SpuId::to_string).collect();
    ids.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_the_ordinary_is_said_below() {
        let row = PartitionRow {
            topic: "flights".parse().unwrap(),
            partition: PartitionIndex(2),
            state: PartitionState::Offline,
            reason: "SPU 1 is down".to_owned(),
            leader: None,
            leader_epoch: LeaderEpoch(4),
            replicas: vec![SpuId(0), SpuId(1)],
            isr: vec![SpuId(1)],
            moving: Some(ReplicaMove {
                from: vec![SpuId(1)],
                to: vec![SpuId(0)],
            }),
            failed: [true, false]
                .map(|is_refilling| FailedRow {
                    spu: SpuId(0),
                    reason: "batch at offset 7 is damaged".to_owned(),
                    is_refilling,
                })
                .into(),
            unclean_elections: 2,
            log_start: None,
            log_end: None,
        };

        assert_eq!(
            partition_table(&[row]),
            "TOPIC    PARTITION  STATE    LEADER  EPOCH  REPLICAS  ISR  LOG START  LOG END\n\
             flights  2          offline  -       4      0,1       1    -          -\n\
             flights-2 is offline: SPU 1 is down\n\
             flights-2 is moving from 1 to 0: 0 of 1 new replicas in sync\n\
             flights-2 is copied to SPU 0 anew, where it had failed: batch at offset 7 is damaged\n\
             flights-2 has failed on SPU 0: batch at offset 7 is damaged\n\
             flights-2 had 2 unclean elections: records may have been lost"
        );
    }
}
