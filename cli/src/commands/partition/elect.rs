//! `partition elect`

use serde::Serialize;
use thalweg_client::{Election, ElectionOutcome};
use thalweg_types::{SpuId, TopicPartition};

use super::selector::{PartitionSelector, selected};
use crate::commands::confirm::ConfirmArguments;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render, Table};

/// What a row says of a partition that does not exist.
const NO_SUCH_PARTITION: &str = "no such partition";

/// Move leadership back to the preferred replicas: the first ones in `partition list`.
///
/// The controller does so by itself a while after an SPU has come back. With --unclean, a replica
/// that is not in sync leads where no in-sync one can: what it lacks is lost for good.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("which").required(true).args(["partitions", "all"]),
    after_help = "Examples:
  $ thalweg partition elect orders
  $ thalweg partition elect --all
  $ thalweg partition elect orders/3 --unclean"
)]
pub(crate) struct ElectArguments {
    /// Which partitions: all of a topic's, or one.
    #[arg(value_name = "TOPIC[/PARTITION]")]
    partitions: Vec<PartitionSelector>,

    /// Every partition of the cluster.
    #[arg(long)]
    all: bool,

    /// Let a replica that is not in sync lead where no in-sync one can, and lose what it lacks.
    #[arg(long, conflicts_with = "all")]
    unclean: bool,

    #[command(flatten)]
    confirm: ConfirmArguments,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Elections(Vec<ElectionRow>);

#[derive(Debug, Serialize)]
struct ElectionRow {
    #[serde(flatten)]
    partition: TopicPartition,
    outcome: &'static str,
    leader: Option<SpuId>,
    /// Why it was not elected.
    #[serde(skip_serializing_if = "String::is_empty")]
    reason: String,
}

impl ElectionRow {
    fn new((partition, outcome): (TopicPartition, ElectionOutcome)) -> Self {
        let (outcome, leader, reason) = match outcome {
            ElectionOutcome::Elected(leader) => ("elected", Some(leader), String::new()),
            ElectionOutcome::NotNeeded(leader) => ("leads already", Some(leader), String::new()),
            ElectionOutcome::NotElected(reason) => ("not elected", None, reason),
            _ => (NO_SUCH_PARTITION, None, String::new()),
        };
        Self {
            partition,
            outcome,
            leader,
            reason,
        }
    }
}

impl Render for Elections {
    fn render(&self) -> String {
        let mut table = Table::new(["TOPIC", "PARTITION", "LEADER", "OUTCOME"]);
        for row in &self.0 {
            let leader = row.leader.map(|leader| leader.to_string());
            let outcome = match row.reason.as_str() {
                "" => row.outcome.to_owned(),
                reason => format!("{}: {reason}", row.outcome),
            };
            table.row([
                row.partition.topic.to_string(),
                row.partition.partition.to_string(),
                leader.unwrap_or_else(|| "-".to_owned()),
                outcome,
            ]);
        }
        table.text()
    }
}

pub(crate) async fn run(arguments: &ElectArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let partitions = match arguments.all {
        true => None,
        false => Some(selected(&admin, &arguments.partitions).await?),
    };
    let election = if arguments.unclean {
        let what = "records that only the replicas without an SPU hold";
        arguments.confirm.ask_at_terminal(what)?;
        Election::Unclean
    } else {
        Election::Preferred
    };
    let outcomes = admin.elect_leaders(partitions, election).await?;
    let rows: Vec<_> = outcomes.into_iter().map(ElectionRow::new).collect();
    let failed = rows.iter().filter(|row| row.leader.is_none()).count();
    let unknown = rows.iter().find(|row| row.outcome == NO_SUCH_PARTITION);
    let unknown = unknown.map(|row| row.partition.clone());
    arguments.output.print(&Elections(rows))?;
    // Of all partitions some may well have preferred replicas that are away.
    if failed == 0 || arguments.all {
        return Ok(());
    }
    if let Some(unknown) = unknown {
        return Err(
            CliError::not_found(format!("partition `{unknown}` does not exist"))
                .next_step("`thalweg partition list` shows those that do"),
        );
    }
    let error = anyhow::anyhow!("{failed} partitions got no leader");
    Err(CliError::new(ExitCode::Failure, error)
        .next_step("`thalweg partition list` shows who is in sync, `thalweg spu list` who is up"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_row_for_each_partition_and_the_reason() {
        let row = |partition: i32, outcome| {
            ElectionRow::new((
                TopicPartition {
                    topic: "t".parse().unwrap(),
                    partition: thalweg_types::PartitionIndex(partition),
                },
                outcome,
            ))
        };
        let elections = Elections(vec![
            row(0, ElectionOutcome::Elected(SpuId(2))),
            row(1, ElectionOutcome::NotElected("SPU 1 is down".to_owned())),
        ]);

        assert_eq!(
            elections.render(),
            "TOPIC  PARTITION  LEADER  OUTCOME\n\
             t      0          2       elected\n\
             t      1          -       not elected: SPU 1 is down"
        );
    }
}
