//! Does the harm of a step, waits, and undoes it.

use std::time::Duration;

use thalweg_client::{Admin, AdminError};
use thalweg_types::{SpuId, TopicPartition};

use crate::clients::Recorder;
use crate::faults::{End, Fault, Place, Step, Target};
use crate::harmed_cluster::HarmedCluster;
use crate::round::SPU_COUNT;
use crate::trim::trim;

/// How long the SC may be asked who leads, or to do something: it may be gone.
const ASK_WITHIN: Duration = Duration::from_millis(500);

/// Does what a step says, and notes it in `harm`.
///
/// # Errors
/// When a process does not come back, or ends otherwise than asked.
pub(crate) async fn inflict(
    cluster: &mut HarmedCluster,
    admin: &Admin,
    recorder: &Recorder,
    step: &Step,
    harm: &mut Vec<String>,
) -> anyhow::Result<()> {
    let mut done = Vec::new();
    for fault in &step.faults {
        let fault = Aimed::new(*fault, admin).await;
        let what = match fault.ask(admin, recorder, true).await {
            Some(what) => what,
            None => fault.begin(cluster)?,
        };
        harm.push(format!("{what}, for {:?}", step.lasts));
        done.push(fault);
    }
    tokio::time::sleep(step.lasts).await;
    for fault in done {
        fault.ask(admin, recorder, false).await;
        fault.end(cluster)?;
    }
    tokio::time::sleep(step.rest).await;
    Ok(())
}

/// A fault whose targets are known.
#[derive(Debug)]
enum Aimed {
    Kill(Place),
    Stop(Place),
    Pause(Place),
    KillAll,
    RestartAll,
    /// Each first one's sendings don't come to the second.
    Cut(Vec<(Place, Place)>),
    Isolate(Place),
    Slow(Place),
    FillDisk(i32),
    Move(TopicPartition, Vec<SpuId>),
    Drain(SpuId),
    /// A part of it.
    Trim(TopicPartition, f64),
    /// Nobody said what partitions there are.
    Nothing,
}

impl Aimed {
    async fn new(fault: Fault, admin: &Admin) -> Self {
        match fault {
            Fault::Kill(target) => Self::Kill(Place::Spu(spu(target, admin).await)),
            Fault::Stop(target) => Self::Stop(Place::Spu(spu(target, admin).await)),
            Fault::Pause(target) => Self::Pause(Place::Spu(spu(target, admin).await)),
            Fault::KillSc => Self::Kill(Place::Sc),
            Fault::PauseSc => Self::Pause(Place::Sc),
            Fault::KillAll => Self::KillAll,
            Fault::RestartAll => Self::RestartAll,
            Fault::Cut {
                ends: [from, to],
                one_way,
            } => {
                let from = place(from, admin).await;
                let to = another_than(from, place(to, admin).await);
                Self::Cut(if one_way {
                    vec![(from, to)]
                } else {
                    vec![(from, to), (to, from)]
                })
            }
            Fault::Isolate(target) => Self::Isolate(Place::Spu(spu(target, admin).await)),
            Fault::Slow(target) => Self::Slow(Place::Spu(spu(target, admin).await)),
            Fault::FillDisk(target) => Self::FillDisk(spu(target, admin).await),
            Fault::Move { partition, without } => Self::moving(partition, without, admin).await,
            Fault::Drain(target) => Self::Drain(SpuId(spu(target, admin).await)),
            Fault::Trim { partition, percent } => match nth_partition(partition, admin).await {
                Some(partition) => Self::Trim(partition, f64::from(percent) / 100.0),
                None => Self::Nothing,
            },
        }
    }

    async fn moving(index: usize, without: i32, admin: &Admin) -> Self {
        let spus = asked(admin.list_spus()).await.unwrap_or_default();
        let spus = spus.into_iter().map(|spu| spu.id);
        let to = spus.filter(|spu| spu.0 != without).collect();
        match nth_partition(index, admin).await {
            Some(partition) => Self::Move(partition, to),
            None => Self::Nothing,
        }
    }

    /// Has the SC or a leader do it, or end it, where that is theirs to do: what was asked.
    async fn ask(&self, admin: &Admin, recorder: &Recorder, begins: bool) -> Option<String> {
        let (what, outcome) = match self {
            Self::Move(partition, to) if begins => {
                let moves = vec![(partition.clone(), Some(to.clone()))];
                let moved = asked(admin.move_replicas(moves, false)).await;
                let reason = moved.map(|moved| moved.into_iter().map(|it| it.reason).collect());
                (format!("{partition} moved to {to:?}"), reason)
            }
            Self::Drain(spu) => {
                let drained = asked(admin.drain_spu(*spu, begins)).await;
                (format!("SPU {spu} drained"), drained.map(|_| String::new()))
            }
            Self::Trim(partition, part) if begins => {
                let trimmed = asked(trim(admin, partition, *part, recorder)).await;
                let start = trimmed.map_or(String::new(), |start| format!(" to {start}"));
                (
                    format!("{partition} trimmed{start}"),
                    trimmed.map(|_| String::new()),
                )
            }
            _ => return None,
        };
        Some(match outcome {
            Some(reason) if reason.is_empty() => what,
            Some(reason) => format!("{what} (refused: {reason})"),
            None => format!("{what} (no answer)"),
        })
    }

    /// Does it, and says what. An SPU whose disk is full may not come up again yet: healing starts it.
    fn begin(&self, cluster: &mut HarmedCluster) -> anyhow::Result<String> {
        match self {
            Self::Kill(place) => {
                cluster.kill(*place);
                Ok(format!("{place} killed"))
            }
            Self::Stop(place) => {
                cluster.stop(*place)?;
                Ok(format!("{place} stopped"))
            }
            Self::Pause(place) => {
                cluster.pause(*place)?;
                Ok(format!("{place} paused"))
            }
            Self::KillAll => {
                cluster.spus().for_each(|spu| cluster.kill(Place::Spu(spu)));
                Ok("all SPUs killed".to_owned())
            }
            Self::RestartAll => {
                cluster.restart_all()?;
                Ok("all processes restarted, one after the other".to_owned())
            }
            Self::Cut(ways) => {
                let mut words = Vec::new();
                for (from, to) in ways {
                    set_line(cluster, *from, *to, false)?;
                    words.push(format!("nothing comes from {from} to {to}"));
                }
                Ok(words.join(", "))
            }
            Self::Isolate(place) => {
                set_all_lines(cluster, *place, false)?;
                Ok(format!("{place} isolated"))
            }
            Self::Slow(place) => {
                let how = cluster
                    .network()
                    .map(|network| network.slow(*place))
                    .transpose()?;
                Ok(format!("{place} slowed: {}", how.unwrap_or_default()))
            }
            Self::FillDisk(spu) => {
                cluster.fill_disk(*spu)?;
                Ok(format!("the disk of SPU {spu} filled"))
            }
            Self::Move(..) | Self::Drain(_) | Self::Trim(..) | Self::Nothing => {
                Ok("nothing done: nobody said what partitions there are".to_owned())
            }
        }
    }

    fn end(&self, cluster: &mut HarmedCluster) -> anyhow::Result<()> {
        match self {
            Self::Kill(place) | Self::Stop(place) => drop(cluster.start_node(*place)),
            Self::Pause(place) => cluster.resume(*place)?,
            Self::KillAll => cluster
                .spus()
                .for_each(|spu| drop(cluster.start_node(Place::Spu(spu)))),
            Self::RestartAll | Self::Move(..) | Self::Drain(_) | Self::Trim(..) | Self::Nothing => {
            }
            Self::Cut(ways) => {
                for (from, to) in ways {
                    set_line(cluster, *from, *to, true)?;
                }
            }
            Self::Isolate(place) => set_all_lines(cluster, *place, true)?,
            Self::Slow(place) => {
                if let Some(network) = cluster.network() {
                    network.hurry(*place)?;
                }
            }
            Self::FillDisk(spu) => cluster.empty_disk(*spu)?,
        }
        Ok(())
    }
}

fn set_line(
    cluster: &mut HarmedCluster,
    from: Place,
    to: Place,
    is_whole: bool,
) -> anyhow::Result<()> {
    match cluster.network() {
        Some(network) if from != to && is_whole => network.mend(from, to),
        Some(network) if from != to => network.cut(from, to),
        _ => Ok(()),
    }
}

fn set_all_lines(cluster: &mut HarmedCluster, place: Place, is_whole: bool) -> anyhow::Result<()> {
    let others = cluster.network().map(|network| network.places().to_vec());
    for other in others.unwrap_or_default() {
        set_line(cluster, place, other, is_whole)?;
        set_line(cluster, other, place, is_whole)?;
    }
    Ok(())
}

/// A place that is not `from`: where chance has chosen the same one twice, another of its kind.
fn another_than(from: Place, to: Place) -> Place {
    match to {
        _ if to != from => to,
        Place::Spu(id) => Place::Spu((id + 1) % SPU_COUNT),
        Place::Clients => Place::Sc,
        Place::Sc => Place::Clients,
    }
}

/// A partition by its number over all topics; none where nobody says what there is.
async fn nth_partition(index: usize, admin: &Admin) -> Option<TopicPartition> {
    let partitions = asked(admin.list_partitions(None)).await?;
    let nth = index.checked_rem(partitions.len())?;
    Some(partitions[nth].topic_partition())
}

async fn place(end: End, admin: &Admin) -> Place {
    match end {
        End::Clients => Place::Clients,
        End::Sc => Place::Sc,
        End::Spu(target) => Place::Spu(spu(target, admin).await),
    }
}

/// The SPU that is meant; the first one where nobody says who leads.
async fn spu(target: Target, admin: &Admin) -> i32 {
    let index = match target {
        Target::Spu(id) => return id,
        Target::LeaderOf(index) => index,
    };
    let partitions = asked(admin.list_partitions(None)).await.unwrap_or_default();
    let led: Vec<_> = partitions
        .iter()
        .filter_map(|partition| partition.status.leader)
        .collect();
    if led.is_empty() {
        0
    } else {
        led[index % led.len()].0
    }
}

/// The SC's answer, where it gives one.
async fn asked<T>(call: impl Future<Output = Result<T, AdminError>>) -> Option<T> {
    tokio::time::timeout(ASK_WITHIN, call).await.ok()?.ok()
}
