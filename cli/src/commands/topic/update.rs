//! `topic update`

use std::path::PathBuf;

use serde::Serialize;
use thalweg_client::TopicUpdate;
use thalweg_types::{ChainSpec, ConfigKey, TopicConfig, TopicName};

use super::create::wait_until_online;
use super::row::TopicRow;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};
use crate::transforms;

/// Change a topic's settings or its chain of SmartModules, or add partitions.
#[derive(Debug, clap::Args)]
#[command(
    group = clap::ArgGroup::new("change").required(true).multiple(true).args(["config", "unset", "partitions", "transforms", "clear_transforms"]),
    after_help = "Examples:
  $ thalweg topic update orders --config retention.ms=30d
  $ thalweg topic update orders --unset retention.ms --partitions 12
  $ thalweg topic update orders --transforms mask.yaml"
)]
pub(crate) struct UpdateArguments {
    /// Name of the topic.
    name: TopicName,

    /// A setting to change; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    config: Vec<KeyValue>,

    /// A setting to return to its default; may be repeated.
    #[arg(long, value_name = "KEY")]
    unset: Vec<ConfigKey>,

    /// The new number of partitions. It can only grow.
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(i32).range(1..))]
    partitions: Option<i32>,

    /// Pass every producer's records through the chain in this YAML file from now on, in place of
    /// the chain that the topic has.
    #[arg(long, value_name = "FILE", conflicts_with = "clear_transforms")]
    transforms: Option<PathBuf>,

    /// Append records as they are from now on.
    #[arg(long)]
    clear_transforms: bool,

    /// Check everything with the controller and change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct TopicUpdated {
    #[serde(flatten)]
    topic: TopicRow,
    #[serde(skip)]
    dry_run: bool,
}

impl Render for TopicUpdated {
    fn render(&self) -> String {
        let what = if self.dry_run {
            "could be updated"
        } else {
            "updated"
        };
        format!("topic `{}` {what}", self.topic.name)
    }
}

pub(crate) async fn run(arguments: UpdateArguments, context: &Context) -> Result<(), CliError> {
    // Checked here too, so that a wrong setting is named without asking anyone.
    let mut checked = TopicConfig::default();
    for (key, value) in &arguments.config {
        checked.set(key, value)?;
    }
    let produce_chain = match &arguments.transforms {
        Some(path) => Some(transforms::stored(transforms::from_file(path)?)?),
        None => arguments.clear_transforms.then(ChainSpec::default),
    };
    let update = TopicUpdate {
        set_config: arguments.config.into_iter().collect(),
        unset_config: arguments.unset.iter().map(ConfigKey::to_string).collect(),
        partitions: arguments.partitions,
        produce_chain,
        validate_only: arguments.dry_run,
        ..TopicUpdate::default()
    };
    let admin = context.client().await?.admin();
    let topic = admin.update_topic(&arguments.name, update).await?;
    if arguments.partitions.is_some() && !arguments.dry_run {
        wait_until_online(&admin, &arguments.name).await?;
    }
    arguments.output.print(&TopicUpdated {
        topic: topic.into(),
        dry_run: arguments.dry_run,
    })
}
