//! `partition list`

use serde::Serialize;
use thalweg_types::TopicName;

use super::row::{PartitionRow, partition_rows, partition_table};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};

/// List partitions: who leads them, who is in sync, and which offsets they hold.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Only this topic's.
    topic: Option<TopicName>,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct PartitionList(Vec<PartitionRow>);

impl Render for PartitionList {
    fn render(&self) -> String {
        partition_table(&self.0)
    }
}

pub(crate) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let partitions = admin.list_partitions(arguments.topic.as_ref()).await?;
    let failed = admin.failed_replicas(arguments.topic.as_ref()).await?;
    let rows = partition_rows(&admin, partitions, &failed).await;
    arguments.output.print(&PartitionList(rows))
}
