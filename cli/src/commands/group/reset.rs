//! `group reset`

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_client::Admin;
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};
use crate::timestamp::parse_timestamp_ms;

/// Have a group without members go on at other offsets.
///
/// Changes the partitions that the group has committed offsets of, or all of the topics that are
/// given. Offsets that a partition does not hold become its first or its end.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("where to").args(["to_beginning", "to_end", "to_offset", "to_time", "shift"]).required(true),
    after_help = "Examples:
  $ thalweg group reset billing --to-beginning --dry-run
  $ thalweg group reset billing --topic orders --to-time -1h
  $ thalweg group reset billing --topic orders --partition 3 --shift -100"
)]
pub(crate) struct ResetArguments {
    /// Name of the group.
    group: String,

    /// Only this topic; may be repeated. Default: all that the group has committed offsets of.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<TopicName>,

    /// Only this partition of each topic; may be repeated. Default: all.
    #[arg(long, value_name = "PARTITION")]
    partition: Vec<PartitionIndex>,

    /// To the first record.
    #[arg(long)]
    to_beginning: bool,

    /// After the last record.
    #[arg(long)]
    to_end: bool,

    /// To this offset.
    #[arg(long, value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,

    /// To the first record of this time or later: RFC 3339, milliseconds since 1970, or for example
    /// -1h.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to_time: Option<String>,

    /// By so many offsets from where the group is: forward, or back if negative.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    shift: Option<i64>,

    /// Show what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

/// Where to go on.
enum Target {
    Beginning,
    End,
    Offset(Offset),
    Time(i64),
    Shift(i64),
}

#[derive(Debug, Serialize)]
struct Reset {
    group: String,
    changed: bool,
    partitions: Vec<ResetRow>,
}

#[derive(Debug, Serialize)]
struct ResetRow {
    topic: TopicName,
    partition: PartitionIndex,
    from: Option<Offset>,
    to: Offset,
}

impl Render for Reset {
    fn render(&self) -> String {
        let mut table = Table::new(["TOPIC", "PARTITION", "FROM", "TO"]);
        for row in &self.partitions {
            table.row([
                row.topic.to_string(),
                row.partition.to_string(),
                row.from
                    .map_or_else(|| "-".to_owned(), |from| from.to_string()),
                row.to.to_string(),
            ]);
        }
        let done = match self.changed {
            true => format!("group `{}` goes on there", self.group),
            false => "nothing was changed".to_owned(),
        };
        format!("{}\n{done}", table.text())
    }
}

pub(crate) async fn run(arguments: &ResetArguments, context: &Context) -> Result<(), CliError> {
    let target = arguments.target(context)?;
    let admin = context.client().await?.admin();
    let committed = admin.group_offsets(&arguments.group).await?;
    let partitions = arguments.partitions(&admin, &committed).await?;
    let mut rows = Vec::new();
    for partition in partitions {
        let from = committed.get(&partition).copied();
        let to = offset_at(&admin, &partition, &target, from).await?;
        rows.push(ResetRow {
            topic: partition.topic,
            partition: partition.partition,
            from,
            to,
        });
    }
    if !arguments.dry_run {
        let offsets = rows.iter().map(|row| {
            let partition = TopicPartition {
                topic: row.topic.clone(),
                partition: row.partition,
            };
            (partition, row.to)
        });
        admin
            .reset_group_offsets(&arguments.group, &offsets.collect())
            .await?;
    }
    arguments.output.print(&Reset {
        group: arguments.group.clone(),
        changed: !arguments.dry_run,
        partitions: rows,
    })
}

impl ResetArguments {
    fn target(&self, context: &Context) -> Result<Target, CliError> {
        if let Some(time) = &self.to_time {
            let time_ms = parse_timestamp_ms(time, context.clock().now_ms())
                .map_err(|reason| CliError::usage(anyhow::Error::msg(reason)))?;
            return Ok(Target::Time(time_ms));
        }
        Ok(match (self.to_offset, self.shift) {
            (Some(offset), _) => Target::Offset(Offset(offset)),
            (None, Some(by)) => Target::Shift(by),
            (None, None) if self.to_end => Target::End,
            (None, None) => Target::Beginning,
        })
    }

    /// Which partitions are reset.
    async fn partitions(
        &self,
        admin: &Admin,
        committed: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<Vec<TopicPartition>, CliError> {
        let mut all = Vec::new();
        if self.topic.is_empty() {
            all.extend(committed.keys().cloned());
        }
        for topic in &self.topic {
            let described = admin.describe_topic(topic).await?;
            let partitions = described.partitions.iter();
            let names = partitions.map(|partition| partition.topic_partition());
            let names: Vec<_> = names.collect();
            let has = |wanted: &PartitionIndex| names.iter().any(|name| name.partition == *wanted);
            if let Some(unknown) = self.partition.iter().find(|wanted| !has(wanted)) {
                let error = format!("topic `{topic}` has no partition {unknown}");
                return Err(CliError::not_found(error).next_step(format!(
                    "`thalweg partition list {topic}` shows those it has"
                )));
            }
            all.extend(names);
        }
        all.retain(|of| self.partition.is_empty() || self.partition.contains(&of.partition));
        if all.is_empty() {
            let group = &self.group;
            let error =
                anyhow::anyhow!("group `{group}` has committed nothing of what is asked for");
            return Err(CliError::usage(error)
                .next_step("name a topic with --topic to set offsets for all of its partitions"));
        }
        Ok(all)
    }
}

/// The offset in a partition, within what it holds.
async fn offset_at(
    admin: &Admin,
    partition: &TopicPartition,
    target: &Target,
    from: Option<Offset>,
) -> Result<Offset, CliError> {
    let held = admin.partition_offsets(partition).await?;
    let wanted = match target {
        Target::Beginning => held.start,
        Target::End => held.end,
        Target::Offset(offset) => *offset,
        Target::Time(time_ms) => {
            let found = admin.offset_at_time(partition, *time_ms).await?;
            found.unwrap_or(held.end)
        }
        Target::Shift(by) => {
            let Some(from) = from else {
                let error = anyhow::anyhow!(
                    "the group has committed nothing of partition `{partition}`, so there is nothing to shift"
                );
                return Err(CliError::usage(error).next_step("give it an offset with --to-offset"));
            };
            Offset(from.0.saturating_add(*by))
        }
    };
    Ok(wanted.clamp(held.start, held.end))
}
