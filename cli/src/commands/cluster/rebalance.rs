//! `cluster rebalance`

use serde::Serialize;
use thalweg_client::{Admin, PlannedMove, WatchEvent, resource};
use thalweg_types::{SpuId, TopicPartition};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table, note};

/// Move replicas so that all SPUs carry about the same.
///
/// As few as it takes, and none that would bring replicas of a partition together in one rack. A
/// bounded number moves at a time. Returns when all have moved; interrupted, those that are under way
/// go on, and the command may be given again.
#[derive(Debug, clap::Args)]
pub(crate) struct RebalanceArguments {
    /// Show what would move, and move nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Rebalanced {
    dry_run: bool,
    moves: Vec<MoveRow>,
}

#[derive(Debug, Serialize)]
struct MoveRow {
    #[serde(flatten)]
    partition: TopicPartition,
    from: Vec<SpuId>,
    to: Vec<SpuId>,
}

impl From<PlannedMove> for MoveRow {
    fn from(planned: PlannedMove) -> Self {
        Self {
            partition: planned.partition,
            from: planned.from,
            to: planned.to,
        }
    }
}

impl Render for Rebalanced {
    fn render(&self) -> String {
        if self.moves.is_empty() {
            return "nothing has to move".to_owned();
        }
        let ids = |spus: &[SpuId]| {
            let ids: Vec<_> = spus.iter().map(SpuId::to_string).collect();
            ids.join(",")
        };
        let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO", "DATA"]);
        for row in &self.moves {
            let copies = row.to.iter().any(|spu| !row.from.contains(spu));
            table.row([
                row.partition.topic.to_string(),
                row.partition.partition.to_string(),
                ids(&row.from),
                ids(&row.to),
                if copies { "copied" } else { "stays" }.to_owned(),
            ]);
        }
        let outcome = if self.dry_run { "would move" } else { "moved" };
        format!("{}\n\n{} {outcome}", table.text(), self.moves.len())
    }
}

pub(crate) async fn run(arguments: &RebalanceArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let plan = admin.rebalance(arguments.dry_run).await?;
    let moves = plan.moves.into_iter().map(MoveRow::from).collect();
    if !arguments.dry_run && plan.under_way > 0 {
        until_even(&admin).await?;
    }
    arguments.output.print(&Rebalanced {
        dry_run: arguments.dry_run,
        moves,
    })
}

/// Begins moves as others end, until the plan is empty and none is under way.
async fn until_even(admin: &Admin) -> Result<(), CliError> {
    let mut watch = admin.watch().await?;
    let mut told = None;
    while let Some(event) = watch.next().await? {
        let may_go_on = match event {
            WatchEvent::SnapshotEnd => true,
            WatchEvent::Upserted(resource::Resource::Partition(row)) => row.spec.moving.is_none(),
            _ => false,
        };
        if !may_go_on {
            continue;
        }
        let plan = admin.rebalance(false).await?;
        let waiting = plan.moves.iter().filter(|planned| !planned.begun).count();
        if waiting == 0 && plan.under_way == 0 {
            return Ok(());
        }
        let state = (plan.under_way, waiting);
        if told.replace(state) != Some(state) {
            note(&format!("{} moving, {waiting} to go", plan.under_way));
        }
    }
    let error = anyhow::anyhow!("the controller stopped while partitions were moving");
    Err(CliError::unavailable(error).next_step("give the command again"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_see_what_moves_and_whether_data_does() {
        let row = |partition: i32, from: &[i32], to: &[i32]| MoveRow {
            partition: TopicPartition {
                topic: "t".parse().unwrap(),
                partition: thalweg_types::PartitionIndex(partition),
            },
            from: from.iter().copied().map(SpuId).collect(),
            to: to.iter().copied().map(SpuId).collect(),
        };
        let rebalanced = Rebalanced {
            dry_run: true,
            moves: vec![row(0, &[0, 1], &[2, 1]), row(1, &[0, 1], &[1, 0])],
        };

        assert_eq!(
            rebalanced.render(),
            "TOPIC  PARTITION  FROM  TO   DATA\n\
             t      0          0,1   2,1  copied\n\
             t      1          0,1   1,0  stays\n\n\
             2 would move"
        );
    }
}
