//! `transform backfill compare`

use std::time::Duration;

use anyhow::anyhow;
use serde::Serialize;
use thalweg_client::resource::Transform;
use thalweg_client::{
    Admin, Client, ConsumerBatch, ConsumerOptions, EndOffset, StartOffset, TransformPartition,
};
use thalweg_types::{
    Offset, PartitionIndex, ResourceName, TopicName, TopicPartition, parse_duration,
};

use super::multiset::{Bag, Difference};
use super::the_backfill;
use crate::context::Context;
use crate::error::CliError;
use crate::exit_code::ExitCode;
use crate::output::{OutputArguments, Render, Table};

/// How often to ask how far the transform and its backfill are.
const POLL: Duration = Duration::from_millis(200);

/// Compare what the backfill of a transform has written with what the transform has.
///
/// Waits until both are past what the inputs have now, then reads the outputs of both. Records are the same that have the
/// same key and the same value, in the same partition where both outputs have as many; their order and their headers do
/// not count. Records whose timestamps are later than the beginning of the command are left out. The exit status is 1 where
/// the outputs differ.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg transform backfill compare late
  $ thalweg transform backfill compare late --limit 100 --output json")]
pub(crate) struct CompareArguments {
    /// Name of the transform.
    name: ResourceName,

    /// How many records to show that only one has; of each output, and of each of the two.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit: usize,

    /// How long to wait until both are past what the inputs have.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    timeout: Duration,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Comparison {
    outputs: Vec<Compared>,
}

/// One output of the transform beside that of the backfill.
#[derive(Debug, Default, Serialize)]
struct Compared {
    old: String,
    new: String,
    in_both: u64,
    only_in_old: u64,
    only_in_new: u64,
    examples: Vec<Example>,
}

/// A record that only one has.
#[derive(Debug, Serialize)]
struct Example {
    only_in: TopicName,
    partition: PartitionIndex,
    offset: Offset,
    timestamp_ms: i64,
    key: Option<String>,
    value: Option<String>,
}

impl Compared {
    fn differs(&self) -> bool {
        self.only_in_old + self.only_in_new > 0
    }
}

impl Render for Comparison {
    fn render(&self) -> String {
        let mut table = Table::new(["OLD", "NEW", "IN BOTH", "ONLY IN OLD", "ONLY IN NEW"]);
        for one in &self.outputs {
            table.row([
                one.old.clone(),
                one.new.clone(),
                one.in_both.to_string(),
                one.only_in_old.to_string(),
                one.only_in_new.to_string(),
            ]);
        }
        let examples = self.outputs.iter().flat_map(|one| &one.examples);
        let examples: Vec<_> = examples.collect();
        if examples.is_empty() {
            return table.text();
        }
        let mut shown = Table::new(["ONLY IN", "OFFSET", "KEY", "VALUE"]);
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        for example in examples {
            shown.row([
                format!("{}-{}", example.only_in, example.partition),
                example.offset.to_string(),
                text(&example.key),
                text(&example.value),
            ]);
        }
        format!("{}\n\n{}", table.text(), shown.text())
    }
}

pub(super) async fn run(arguments: &CompareArguments, context: &Context) -> Result<(), CliError> {
    let began_ms = context.clock().now_ms();
    let client = context.client().await?;
    let admin = client.admin();
    let transform = caught_up(&admin, arguments).await?;
    let backfill = the_backfill(&arguments.name, &transform.spec)?;
    let mut outputs = Vec::new();
    for (old, new) in transform.spec.outputs.iter().zip(&backfill.outputs) {
        let pair = Pair {
            client: &client,
            topics: [old, new],
            began_ms,
            by_partition: has_as_many(&admin, old, new).await?,
        };
        outputs.push(pair.compare(arguments.limit).await?);
    }
    let differ = outputs.iter().any(Compared::differs);
    arguments.output.print(&Comparison { outputs })?;
    if differ {
        let error = anyhow!("the backfill has written other records than the transform");
        return Err(CliError::new(ExitCode::Failure, error).next_step(
            "where that is as it should be, go on with `thalweg transform backfill switch`",
        ));
    }
    Ok(())
}

/// Waits until the transform and its backfill are past what the inputs have now.
async fn caught_up(admin: &Admin, arguments: &CompareArguments) -> Result<Transform, CliError> {
    let name = &arguments.name;
    let described = admin.describe_transform(name).await?;
    the_backfill(name, &described.transform.spec)?;
    let mut ends = Vec::new();
    for partition in &described.partitions {
        let end = admin.partition_offsets(&partition.input).await?.end;
        ends.push((partition.input.clone(), end));
    }
    let past = async {
        loop {
            let now = admin.describe_transform(name).await?;
            the_backfill(name, &now.transform.spec)?;
            if is_past(&now.partitions, &ends) && is_past(&now.backfill_partitions, &ends) {
                return Ok(now.transform);
            }
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(arguments.timeout, past)
        .await
        .unwrap_or_else(|_| {
            let error = anyhow!(
                "transform `{name}` and its backfill are not both past what the inputs have, after {} s",
                arguments.timeout.as_secs()
            );
            Err(CliError::unavailable(error).next_step(format!(
                "`thalweg transform describe {name}` shows how far they are; give more time with --timeout"
            )))
        })
}

fn is_past(partitions: &[TransformPartition], ends: &[(TopicPartition, Offset)]) -> bool {
    ends.iter().all(|(input, end)| {
        let mut partitions = partitions.iter();
        let partition = partitions.find(|partition| partition.input == *input);
        let report = partition.and_then(|partition| partition.report.as_ref());
        report.is_some_and(|report| report.position >= *end)
    })
}

async fn has_as_many(admin: &Admin, old: &TopicName, new: &TopicName) -> Result<bool, CliError> {
    let old = admin.describe_topic(old).await?.partitions.len();
    let new = admin.describe_topic(new).await?.partitions.len();
    Ok(old == new)
}

/// An output of the transform and that of the backfill.
struct Pair<'a> {
    client: &'a Client,
    topics: [&'a TopicName; 2],
    /// Records of then and later are left out, in milliseconds since 1970.
    began_ms: i64,
    /// Whether a record has to be in the same partition.
    by_partition: bool,
}

impl Pair<'_> {
    /// Reads both once for how they differ, and once more for examples where they do.
    async fn compare(&self, limit: usize) -> Result<Compared, CliError> {
        let [old, new] = self.topics;
        let bags = [(Bag::First, old), (Bag::Second, new)];
        let mut difference = Difference::default();
        for (bag, topic) in bags {
            let mut add = |batch: &ConsumerBatch| {
                for record in batch
                    .records()
                    .filter(|record| record.timestamp_ms < self.began_ms)
                {
                    difference.add(bag, self.place(batch), record.key, record.value);
                }
                true
            };
            self.read(topic, &mut add).await?;
        }
        let mut compared = Compared {
            old: old.to_string(),
            new: new.to_string(),
            in_both: difference.in_both(),
            only_in_old: difference.only_in(Bag::First),
            only_in_new: difference.only_in(Bag::Second),
            examples: Vec::new(),
        };
        for (bag, topic) in bags {
            let wanted = usize::try_from(difference.only_in(bag))
                .unwrap_or(limit)
                .min(limit);
            if wanted > 0 {
                let found = self.examples(&mut difference, bag, topic, wanted).await?;
                compared.examples.extend(found);
            }
        }
        Ok(compared)
    }

    /// So many records that only this topic has.
    async fn examples(
        &self,
        difference: &mut Difference,
        bag: Bag,
        topic: &TopicName,
        wanted: usize,
    ) -> Result<Vec<Example>, CliError> {
        let mut examples = Vec::new();
        let mut look = |batch: &ConsumerBatch| {
            for record in batch
                .records()
                .filter(|record| record.timestamp_ms < self.began_ms)
            {
                let is_more = examples.len() < wanted
                    && difference.take(bag, self.place(batch), record.key, record.value);
                if is_more {
                    examples.push(Example {
                        only_in: topic.clone(),
                        partition: batch.partition(),
                        offset: record.offset,
                        timestamp_ms: record.timestamp_ms,
                        key: record.key.map(text),
                        value: record.value.map(text),
                    });
                }
            }
            examples.len() < wanted
        };
        self.read(topic, &mut look).await?;
        Ok(examples)
    }

    fn place(&self, batch: &ConsumerBatch) -> i32 {
        if self.by_partition {
            batch.partition().0
        } else {
            0
        }
    }

    /// Reads what a topic has, for as long as `take` wants more.
    async fn read(
        &self,
        topic: &TopicName,
        take: &mut impl FnMut(&ConsumerBatch) -> bool,
    ) -> Result<(), CliError> {
        let options = ConsumerOptions {
            start: StartOffset::Beginning,
            end: EndOffset::LogEnd,
            ..ConsumerOptions::default()
        };
        let mut consumer = self.client.consumer(topic, options).await?;
        while let Some(batch) = consumer.next_batch().await? {
            if !take(&batch) {
                break;
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison() -> Comparison {
        Comparison {
            outputs: vec![Compared {
                old: "late".to_owned(),
                new: "late-2".to_owned(),
                in_both: 1200,
                only_in_old: 0,
                only_in_new: 1,
                examples: vec![Example {
                    only_in: "late-2".parse().unwrap(),
                    partition: PartitionIndex(3),
                    offset: Offset(17),
                    timestamp_ms: 1_700_000_000_000,
                    key: None,
                    value: Some("UA 17".to_owned()),
                }],
            }],
        }
    }

    #[test]
    fn people_see_how_many_and_which() {
        assert_eq!(
            comparison().render(),
            "OLD   NEW     IN BOTH  ONLY IN OLD  ONLY IN NEW\n\
             late  late-2  1200     0            1\n\
             \n\
             ONLY IN   OFFSET  KEY  VALUE\n\
             late-2-3  17      -    UA 17"
        );
    }

    #[test]
    fn programs_see_the_same() {
        let json = serde_json::to_value(comparison()).unwrap();

        assert_eq!(json[0]["only_in_new"], 1);
        assert_eq!(json[0]["examples"][0]["offset"], 17);
    }
}
