//! `topic describe`

use std::collections::BTreeMap;

use serde::Serialize;
use thalweg_types::{
    AggregateSpec, ChainSpec, ConfigKey, LookBack, TopicName, WindowSpec, format_duration_ms,
};

use super::row::TopicRow;
use crate::commands::partition::row::{PartitionRow, partition_rows, partition_table};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table, fields};

/// Show a topic: its settings, with what they mean, and its partitions.
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArguments {
    /// Name of the topic.
    name: TopicName,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TopicShown {
    #[serde(flatten)]
    topic: TopicRow,
    /// Every setting with the value in force.
    settings: BTreeMap<&'static str, String>,
    partition_list: Vec<PartitionRow>,
}

impl Render for TopicShown {
    fn render(&self) -> String {
        let topic = &self.topic;
        let mut state = topic.state();
        if !topic.reason.is_empty() {
            state = format!("{state} ({})", topic.reason);
        }
        let head = fields([
            ("Name", topic.name.to_string()),
            ("Id", topic.id.to_string()),
            ("State", state),
            ("Partitions", topic.partitions.to_string()),
            ("Replication", topic.replication.to_string()),
        ]);
        let mut settings = Table::new(["SETTING", "VALUE", "FROM", "MEANING"]);
        for key in ConfigKey::ALL {
            let from = if topic.config.is_set(*key) {
                "topic"
            } else {
                "default"
            };
            settings.row([
                key.name().to_owned(),
                topic.config.get(*key).to_owned(),
                from.to_owned(),
                key.documentation().to_owned(),
            ]);
        }
        let mut parts = vec![head, settings.text()];
        if !topic.transforms.is_empty() {
            parts.push(transform_table(&topic.transforms));
        }
        parts.push(partition_table(&self.partition_list));
        parts.join("\n\n")
    }
}

/// The steps of a chain that is stored.
pub(crate) fn transform_table(chain: &ChainSpec) -> String {
    let mut table = Table::new(["TRANSFORM", "WITH", "LOOK BACK", "AGGREGATE", "ON ERROR"]);
    for step in &chain.steps {
        let with: Vec<_> = step
            .with
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        table.row([
            step.uses.to_string(),
            with.join(","),
            step.look_back.map(look_back_text).unwrap_or_default(),
            step.aggregate
                .as_ref()
                .map(aggregate_text)
                .unwrap_or_default(),
            step.on_error.to_string(),
        ]);
    }
    table.text()
}

/// The bounds, of what a SmartModule is shown or of what is remembered.
pub(crate) fn look_back_text(look_back: LookBack) -> String {
    let last = look_back.last.map(|last| format!("last {last}"));
    let age = look_back.age_ms.map(|age_ms| format!("{age_ms} ms"));
    let bounds: Vec<_> = last.into_iter().chain(age).collect();
    bounds.join(", ")
}

fn aggregate_text(aggregate: &AggregateSpec) -> String {
    let of = if aggregate.by_key { "by key" } else { "one" };
    let text = format!("{of}, from {:?}", aggregate.initial);
    let Some(WindowSpec {
        shape,
        lateness_ms,
        late,
    }) = aggregate.window
    else {
        return text;
    };
    let lateness = format_duration_ms(lateness_ms);
    format!("{text}, {shape}, lateness {lateness}, late: {late}")
}

pub(crate) async fn run(arguments: &DescribeArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_topic(&arguments.name).await?;
    let failed = admin.failed_replicas(Some(&arguments.name)).await?;
    let config = &described.topic.spec.config;
    let settings = ConfigKey::ALL
        .iter()
        .map(|key| (key.name(), config.get(*key).to_owned()))
        .collect();
    arguments.output.print(&TopicShown {
        settings,
        topic: described.topic.into(),
        partition_list: partition_rows(&admin, described.partitions, &failed).await,
    })
}
