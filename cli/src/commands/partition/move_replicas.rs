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
        let ids = |spus: &[SpuId]| {
            let ids: Vec<_> = spus.iter().map(SpuId::to_string).collect();
            ids.join(",")
        };
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
        Some(ReplicaMoved { reason, .. }) if !reason.is_empty() => {
            let error = anyhow::anyhow!("partition `{name}` is not moved: {reason}");
            return Err(CliError::new(ExitCode::Usage, error));
        }
        Some(ReplicaMoved { now: Some(now), .. }) => now,
        _ => return Err(CliError::not_found(format!("partition `{name}` is gone"))),
    };
    let now = match now.spec.moving {
        Some(_) if !arguments.no_wait && !arguments.dry_run => until_moved(&admin, &name).await?,
        _ => now,
    };
    arguments.output.print(&Moved::new(&now, arguments.dry_run))
}

/// Waits until no move of the partition is under way.
async fn until_moved(
    admin: &Admin,
    name: &TopicPartition,
) -> Result<resource::Partition, CliError> {
    let mut watch = admin.watch().await?;
    let mut told = None;
    while let Some(event) = watch.next().await? {
        match event {
            WatchEvent::Upserted(resource::Resource::Partition(row))
                if row.topic_partition() == *name =>
            {
                let Some(moving) = &row.spec.moving else {
                    return Ok(row);
                };
                let in_sync = |spu: &&SpuId| row.status.isr.contains(spu);
                let count = moving.to.iter().filter(in_sync).count();
                if told.replace(count) != Some(count) {
                    note(&format!("{count} of {} in sync", moving.to.len()));
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
