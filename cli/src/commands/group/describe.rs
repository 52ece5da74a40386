//! `group describe`

use serde::Serialize;
use thalweg_client::{GroupDescription, GroupMember, GroupOffset};
use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};

use crate::context::Context;
use crate::error::CliError;
use crate::output::{OutputArguments, Render, Table};

/// Show a group: its members, and how far it has read each partition.
///
/// LAG is how many offsets the group is behind the end of the partition. Where the coordinator assigns
/// (KIP-848) a member's TARGET is what it is to read, while that is not yet what it reads.
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
    kind: String,
    /// How its members share the partitions.
    assignor: String,
    /// Of a group whose coordinator assigns.
    epochs: Option<Epochs>,
    /// Address of the SPU that keeps it.
    coordinator: String,
    /// All partitions together; nothing where one is not known.
    lag: Option<u64>,
    members: Vec<MemberRow>,
    partitions: Vec<PartitionRow>,
}

#[derive(Debug, Clone, Copy, Serialize)]
struct Epochs {
    group: i32,
    /// The one that what members are to read was worked out for.
    target: i32,
}

#[derive(Debug, Serialize)]
struct MemberRow {
    member: String,
    instance_id: Option<String>,
    client_id: String,
    host: String,
    /// Of a group whose coordinator assigns.
    epoch: Option<i32>,
    partitions: usize,
    /// What it is to read, while that is not yet what it reads.
    target: Option<Vec<TopicPartition>>,
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
            kind: described.kind,
            epochs: described.epochs.map(|epochs| Epochs {
                group: epochs.group,
                target: epochs.target,
            }),
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
        let is_there = member.target.as_ref() == Some(&member.assigned);
        Self {
            member: member.id,
            instance_id: member.instance_id,
            client_id: member.client_id,
            host: member.host,
            epoch: member.epoch,
            partitions: member.assigned.len(),
            target: member
                .target
                .filter(|_| !is_there)
                .map(|target| target.into_iter().collect()),
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
        let mut text = format!("Group:        {}\n", self.group);
        text += &format!("State:        {}\n", self.state);
        text += &format!("Type:         {}\n", self.kind);
        if !self.assignor.is_empty() {
            text += &format!("Assignor:     {}\n", self.assignor);
        }
        match self.epochs {
            Some(Epochs { group, target }) if group != target => {
                text += &format!("Epoch:        {group} (assigned as of {target})\n");
            }
            Some(Epochs { group, .. }) => text += &format!("Epoch:        {group}\n"),
            None => {}
        }
        text += &format!("Coordinator:  {}\n", self.coordinator);
        text += &format!("Lag:          {}\n", or_dash(self.lag));
        if !self.members.is_empty() {
            text += &format!("\n{}\n", self.member_table());
        }
        text + "\n" + &self.partition_table()
    }
}

impl Described {
    fn member_table(&self) -> String {
        let is_assigned = self.epochs.is_some();
        let mut columns = vec!["MEMBER", "INSTANCE", "CLIENT", "HOST", "PARTITIONS"];
        if is_assigned {
            columns.extend(["EPOCH", "TARGET"]);
        }
        let mut table = Table::new(columns);
        for row in &self.members {
            let mut cells = vec![
                row.member.clone(),
                or_dash(row.instance_id.as_ref()),
                row.client_id.clone(),
                row.host.clone(),
                row.partitions.to_string(),
            ];
            if is_assigned {
                cells.extend([or_dash(row.epoch), row.target_text()]);
            }
            table.row(cells);
        }
        table.text()
    }

    fn partition_table(&self) -> String {
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
        table.text()
    }
}

impl MemberRow {
    fn target_text(&self) -> String {
        match self.target.as_deref() {
            None => "-".to_owned(),
            Some([]) => "nothing".to_owned(),
            Some(target) => {
                let names: Vec<_> = target.iter().map(TopicPartition::to_string).collect();
                names.join(",")
            }
        }
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
