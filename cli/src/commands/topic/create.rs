//! `topic create`

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use thalweg_client::resource::ReplicaPlacement;
use thalweg_client::{Admin, NewTopic};
use thalweg_types::{ChainSpec, ErrorCode, SpuId, TopicConfig, TopicName};

use super::row::TopicRow;
use crate::commands::{KeyValue, parse_key_value};
use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render};
use crate::transforms;

/// How long the partitions of a new topic may take to come online.
const ONLINE_TIMEOUT: Duration = Duration::from_secs(30);

/// How often to look.
const ONLINE_POLL: Duration = Duration::from_millis(10);

/// Create a topic.
///
/// Returns once every partition can be written to and read.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  $ thalweg topic create orders
  $ thalweg topic create orders --partitions 6 --replication 3
  $ thalweg topic create clicks --config retention.ms=7d --config durability=memory
  $ thalweg topic create orders --transforms mask.yaml
  $ thalweg topic create pinned --replica-assignment 0:1,1:2")]
pub(crate) struct CreateArguments {
    /// Name of the topic.
    name: TopicName,

    /// Number of partitions.
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    partitions: i32,

    /// Number of replicas of each partition.
    #[arg(visible_alias = "replication-factor", long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..))]
    replication: i32,

    /// The SPUs of each partition, in Kafka's way: partitions are parted by commas, the SPUs of
    /// one by colons; the first is the preferred leader.
    #[arg(long, value_name = "SPUS", value_parser = parse_assignment, conflicts_with_all = ["partitions", "replication"])]
    replica_assignment: Option<Assignment>,

    /// A setting, by Kafka's name where it has one; may be repeated. `topic describe` lists them.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_key_value)]
    config: Vec<KeyValue>,

    /// Pass every producer's records through the chain in this YAML file, before they are
    /// appended; see `thalweg produce --help` for its form.
    #[arg(long, value_name = "FILE")]
    transforms: Option<PathBuf>,

    /// Succeed when the topic exists already.
    #[arg(long)]
    if_not_exists: bool,

    /// Check everything with the controller and create nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    output: OutputArguments,
}

/// The SPUs of each partition. A type of its own, since clap reads a plain `Vec` as a repeated
/// option.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Assignment(Vec<Vec<SpuId>>);

#[derive(Debug, Serialize)]
struct TopicCreated {
    #[serde(flatten)]
    topic: TopicRow,
    created: bool,
    #[serde(skip)]
    dry_run: bool,
}

impl Render for TopicCreated {
    fn render(&self) -> String {
        let name = &self.topic.name;
        match (self.created, self.dry_run) {
            (true, _) => format!("topic `{name}` created"),
            (false, true) => format!("topic `{name}` could be created"),
            (false, false) => format!("topic `{name}` exists already"),
        }
    }
}

pub(crate) async fn run(arguments: CreateArguments, context: &Context) -> Result<(), CliError> {
    let mut config = TopicConfig::default();
    for (key, value) in &arguments.config {
        config.set(key, value)?;
    }
    let produce_chain = match &arguments.transforms {
        Some(path) => transforms::stored(transforms::from_file(path)?)?,
        None => ChainSpec::default(),
    };
    let topic = NewTopic {
        name: arguments.name.clone(),
        placement: match arguments.replica_assignment {
            Some(Assignment(spus)) => ReplicaPlacement::Assigned(spus),
            None => ReplicaPlacement::Computed {
                partitions: arguments.partitions,
                replication_factor: arguments.replication,
            },
        },
        config,
        produce_chain,
        validate_only: arguments.dry_run,
    };
    let admin = context.client().await?.admin();
    let (topic, created) = match admin.create_topic(topic).await {
        Ok(topic) => (topic, !arguments.dry_run),
        Err(error) if error.code() == ErrorCode::AlreadyExists && arguments.if_not_exists => {
            (admin.describe_topic(&arguments.name).await?.topic, false)
        }
        Err(error) => return Err(error.into()),
    };
    if created {
        wait_until_online(&admin, &arguments.name).await?;
    }
    arguments.output.print(&TopicCreated {
        topic: topic.into(),
        created,
        dry_run: arguments.dry_run,
    })
}

/// Waits until every partition has a leader.
pub(crate) async fn wait_until_online(admin: &Admin, name: &TopicName) -> Result<(), CliError> {
    let online = async {
        loop {
            let described = admin.describe_topic(name).await?;
            let placed = usize::try_from(described.topic.spec.placement.partition_count());
            let leaders = described
                .partitions
                .iter()
                .filter_map(|partition| partition.status.leader);
            if placed == Ok(leaders.count()) {
                return Ok::<_, CliError>(());
            }
            tokio::time::sleep(ONLINE_POLL).await;
        }
    };
    tokio::time::timeout(ONLINE_TIMEOUT, online)
        .await
        .unwrap_or_else(|_| {
            let error = anyhow::anyhow!(
                "topic `{name}` is stored, but not all of its partitions have a leader after {} s",
                ONLINE_TIMEOUT.as_secs()
            );
            Err(CliError::unavailable(error).next_step(format!(
                "`thalweg topic describe {name}` and `thalweg spu list` show why"
            )))
        })
}

fn parse_assignment(text: &str) -> Result<Assignment, String> {
    text.split(',')
        .map(|partition| partition.split(':').map(str::parse).collect())
        .collect::<Result<_, _>>()
        .map(Assignment)
        .map_err(|_| "write SPU numbers, for example 0:1,1:2".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_in_kafkas_way() {
        let assignment = parse_assignment("0:1,1:2").unwrap();

        assert_eq!(assignment.0, [[SpuId(0), SpuId(1)], [SpuId(1), SpuId(2)]]);
        assert!(parse_assignment("0:,1").is_err());
        assert!(parse_assignment("").is_err());
    }
}
