//! `group describe`

use serde::Serialize;
use thalweg_client::{GroupDescription, GroupMember, GroupOffset};
use thalweg_types::{Offset, PartitionIndex, TopicName};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// Show a group: its members, and how far it has read each partition.
///
/// LAG is how many offsets the group is behind the end of the partition.
#[derive(Debug, clap::Args)]
pub(crate) struct DescribeArguments {
    /// Name of the group.
    group: String,

    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Described {
    group: String,
    state: String,
    /// How its members share the partitions.
    assignor: String,
    /// Address of the SPU that keeps it.
    coordinator: String,
    /// All partitions together; nothing where one is not known.
    lag: Option<u64>,
    members: Vec<MemberRow>,
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    member: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    partitions: usize,
}

#[derive(Debug, Serialize)]
struct PartitionRow {
    topic: TopicName,
    partition: PartitionIndex,
    committed: Option<Offset>,
    log_end: Option<Offset>,
    lag: Option<u64>,
    member: Option<String>,
}

impl From<GroupDescription> for Described {
    fn from(described: GroupDescription) -> Self {
        let lags = described.offsets.iter().map(GroupOffset::lag);
        Self {
            lag: lags.sum(),
            group: described.id,
            state: described.state,
            assignor: described.assignor,
            coordinator: described.coordinator,
            members: described.members.into_iter().map(MemberRow::from).collect(),
            partitions: described
                .offsets
                .into_iter()
                .map(PartitionRow::from)
                .collect(),
        }
    }
}

impl From<GroupMember> for MemberRow {
    fn from(member: GroupMember) -> Self {
        Self {
            member: member.id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.host,
            partitions: member.assigned.len(),
        }
    }
}

impl From<GroupOffset> for PartitionRow {
    fn from(offset: GroupOffset) -> Self {
        Self {
            lag: offset.lag(),
            topic: offset.partition.topic,
            partition: offset.partition.partition,
            committed: offset.committed,
            log_end: offset.log_end,
            member: offset.member,
        }
    }
}

impl Render for Described {
    fn render(&self) -> String {
        let mut text = format!(
            "Group:        {}\nState:        {}\n",
            self.group, self.state
        );
        if !self.assignor.is_empty() {
            text += &format!("Assignor:     {}\n", self.assignor);
        }
        text += &format!("Coordinator:  {}\n", self.coordinator);
        text += &format!("Lag:          {}\n", or_dash(self.lag));
        if !self.members.is_empty() {
            let mut table = Table::new(["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"]);
            for row in &self.members {
                table.row([
                    row.member.clone(),
                    or_dash(row.instance_id.as_ref()),
                    row.client_id.clone(),
                    row.host.clone(),
                    row.partitions.to_string(),
                ]);
            }
            text += &format!("\n{}\n", table.text());
        }
        let mut table = Table::new([
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "LOG END",
            "LAG",
            "MEMBER",
        ]);
        for row in &self.partitions {
            table.row([
                row.topic.to_string(),
                row.partition.to_string(),
                or_dash(row.committed),
                or_dash(row.log_end),
                or_dash(row.lag),
                or_dash(row.member.as_ref()),
            ]);
        }
        text + "\n" + &table.text()
    }
}

fn or_dash<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

pub(crate) async fn run(arguments: &DescribeArguments, context: &Context) -> Result<(), CliError> {
    let admin = context.client().await?.admin();
    let described = admin.describe_group(&arguments.group).await?;
    arguments.output.print(&Described::from(described))
}
