//! `topic list`

use serde::Serialize;

use super::row::TopicRow;
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// List the topics.
#[derive(Debug, clap::Args)]
pub(crate) struct ListArguments {
    /// Also those that the cluster keeps for itself.
    #[arg(long, visible_alias = "internal")]
    system: bool,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct TopicList(Vec<TopicRow>);

impl Render for TopicList {
    fn render(&self) -> String {
        let mut table = Table::new(["NAME", "PARTITIONS", "REPLICATION", "STATE", "CONFIG"]);
        for topic in &self.0 {
            table.row([
                topic.name.to_string(),
                topic.partitions.to_string(),
                topic.replication.to_string(),
                topic.state(),
                topic.config(),
            ]);
        }
        table.text()
    }
}

pub(crate) async fn run(arguments: &ListArguments, context: &Context) -> Result<(), CliError> {
    let mut topics = context.client().await?.admin().list_topics().await?;
    topics.retain(|topic| arguments.system || !topic.name.is_internal());
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    arguments
        .output
        .print(&TopicList(topics.into_iter().map(TopicRow::from).collect()))
}

#[cfg(test)]
mod tests {
    use thalweg_client::resource::TopicState;
    use thalweg_types::{ChainSpec, TopicConfig, TopicId};

    use super::*;

    fn flights() -> TopicRow {
        let mut config = TopicConfig::default();
        config.set("durability", "memory").unwrap();
        let id: TopicId = "6f1c3f5e-6d2e-4ab8-b1d1-6a1a8c5a7b11".parse().unwrap();
        TopicRow {
            name: "flights".parse().unwrap(),
            id,
            partitions: 4,
            replication: 1,
            state: TopicState::Provisioned,
            reason: String::new(),
            config,
            transforms: ChainSpec::default(),
        }
    }

    #[test]
    fn people_get_a_row_for_each_topic() {
        assert_eq!(
            TopicList(vec![flights()]).render(),
            "NAME     PARTITIONS  REPLICATION  STATE        CONFIG\n\
             flights  4           1            provisioned  durability=memory"
        );
    }

    #[test]
    fn programs_get_a_list() {
        assert_eq!(
            serde_json::to_string(&TopicList(vec![flights()])).unwrap(),
            r#"[{"name":"flights","id":"6f1c3f5e-6d2e-4ab8-b1d1-6a1a8c5a7b11","partitions":4,"replication":1,"state":"provisioned","config":{"durability":"memory"}}]"#
        );
    }
}
