//! `partition move`

use serde::Serialize;
use thalweg_client::{Admin, ReplicaMoved, WatchEvent, resource};
use thalweg_types::{SpuId, TopicPartition};

use super::selector::parse_partition;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render, note};

/// Move a partition's replicas to other SPUs, or change their order or number.
///
/// New replicas are added first and catch up; once they are in sync the others leave and their data
/// goes. Returns when that is done; interrupted, the move goes on, and `partition list` shows it.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("what").required(true).args(["to", "cancel"]),
    after_help = "Examples:
  $ thalweg partition move orders/0 --to 2,3,1
  $ thalweg partition move orders/0 --to 2,3,1 --no-wait
  $ thalweg partition move orders/0 --cancel"
)]
pub(crate) struct MoveArguments {
    /// The partition.
    #[arg(value_name = "TOPIC/PARTITION", value_parser = parse_partition)]
    partition: TopicPartition,

    /// The SPUs that are to hold it; the first is the preferred leader.
    #[arg(long, value_name = "SPUS", value_delimiter = ',')]
    to: Vec<SpuId>,

    /// Take the move that is under way back: its new replicas leave.
    #[arg(long)]
    cancel: bool,

    /// Return once the move has begun.
    #[arg(long)]
    no_wait: bool,

    /// Check everything with the controller and move nothing.
    #[arg(long, conflicts_with = "cancel")]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Moved {
    #[serde(flatten)]
    partition: TopicPartition,
    replicas: Vec<SpuId>,
    isr: Vec<SpuId>,
    moving: Option<resource::ReplicaMove>,
    #[serde(skip)]
    dry_run: bool,
}

impl Moved {
    fn new(partition: &resource::Partition, dry_run: bool) -> Self {
        Self {
            partition: partition.topic_partition(),
            replicas: partition.spec.replicas.clone(),
            isr: partition.status.isr.clone(),
            moving: partition.spec.moving.clone(),
            dry_run,
        }
    }
}

impl Render for Moved {
    fn render(&self) -> String {
        let name = &self.partition;
        match &self.moving {
            _ if self.dry_run => format!("partition `{name}` could be moved"),
            Some(moving) => format!(
                "partition `{name}` is moving from {} to {}",
                ids(&moving.from),
                ids(&moving.to)
            ),
            None => format!("partition `{name}` is held by {}", ids(&self.replicas)),
        }
    }
}

pub(crate) async fn run(arguments: MoveArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let name = arguments.partition;
    let to = (!arguments.cancel).then_some(arguments.to);
    let moves = vec![(name.clone(), to)];
    let mut results = admin.move_replicas(moves, arguments.dry_run).await?;
    let now = match results.pop() {
        Some(refused) if !refused.reason.is_empty() => {
            let error = anyhow::anyhow!("partition `{name}` is not moved: {}", refused.reason);
            let exit_code = match refused.names_unknown {
                true => ExitCode::NotFound,
                false => ExitCode::Usage,
            };
            return Err(CliError::new(exit_code, error));
        }
        Some(ReplicaMoved { now: Some(now), .. }) => now,
        _ => return Err(CliError::not_found(format!("partition `{name}` is gone"))),
    };
    let now = match &now.spec.moving {
        Some(moving) if !arguments.no_wait && !arguments.dry_run => {
            until_moved(&admin, &name, &moving.to).await?
        }
        _ => now,
    };
    arguments.output.print(&Moved::new(&now, arguments.dry_run))
}

/// Waits until the partition is held by `to`.
async fn until_moved(
    admin: &Admin,
    name: &TopicPartition,
    to: &[SpuId],
) -> Result<resource::Partition, CliError> {
    let mut watch = admin.watch().await?;
    let mut told = None;
    while let Some(event) = watch.next().await? {
        match event {
            WatchEvent::Upserted(resource::Resource::Partition(row))
                if row.topic_partition() == *name =>
            {
                match progress(&row, to) {
                    Progress::UnderWay { in_sync } if told == Some(in_sync) => {}
                    Progress::UnderWay { in_sync } => {
                        note(&format!("{in_sync} of {} in sync", to.len()));
                        told = Some(in_sync);
                    }
                    Progress::Done => return Ok(row),
                    Progress::TakenBack(what) => {
                        let error = anyhow::anyhow!(
                            "the move of partition `{name}` to {} was taken back meanwhile: {what}",
                            ids(to)
                        );
                        return Err(CliError::new(ExitCode::Failure, error).next_step(format!(
                            "`thalweg partition list {}` shows where it is; move it again if it is to be elsewhere",
                            name.topic
                        )));
                    }
                }
            }
            WatchEvent::Deleted(resource::ResourceKey::Partition(gone)) if gone == *name => {
                return Err(CliError::not_found(format!("partition `{name}` is gone")));
            }
            _ => {}
        }
    }
    let error = anyhow::anyhow!("the controller stopped while the move was under way");
    Err(CliError::unavailable(error).next_step("`thalweg partition list` shows how far it is"))
}

/// How far a move has come.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    UnderWay {
        in_sync: usize,
    },
    Done,
    /// By somebody else; what there is instead.
    TakenBack(String),
}

/// How far the move of a partition to `to` has come. A move that ended while nobody looked is told from
/// one that was cancelled by who holds the partition, or from where the next one goes.
fn progress(now: &resource::Partition, to: &[SpuId]) -> Progress {
    match &now.spec.moving {
        Some(moving) if moving.to == to => {
            let in_sync = |spu: &&SpuId| now.status.isr.contains(spu);
            Progress::UnderWay {
                in_sync: to.iter().filter(in_sync).count(),
            }
        }
        Some(moving) if moving.from == to => Progress::Done,
        Some(moving) => Progress::TakenBack(format!("it is moving to {}", ids(&moving.to))),
        None if now.spec.replicas == to => Progress::Done,
        None => Progress::TakenBack(format!("it is held by {}", ids(&now.spec.replicas))),
    }
}

fn ids(spus: &[SpuId]) -> String {
    let ids: Vec<_> = spus.iter().map(SpuId::to_string).collect();
    ids.join(",")
}
