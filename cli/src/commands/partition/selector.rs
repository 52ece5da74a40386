//! Which partitions a command is about: `TOPIC` or `TOPIC/PARTITION`.

use std::str::FromStr;

use thalweg_client::Admin;
use thalweg_types::{PartitionIndex, TopicName, TopicPartition};

use crate::error::CliError;

/// A topic, or one of its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartitionSelector {
    topic: TopicName,
    partition: Option<PartitionIndex>,
}

impl FromStr for PartitionSelector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (topic, partition) = match text.split_once('/') {
            Some(_) => {
                let one = parse_partition(text)?;
                (one.topic, Some(one.partition))
            }
            None => (text.parse().map_err(|error| format!("{error}"))?, None),
        };
        Ok(Self { topic, partition })
    }
}

/// Reads `TOPIC/PARTITION`.
pub(crate) fn parse_partition(text: &str) -> Result<TopicPartition, String> {
    let wanted = || "write it as TOPIC/PARTITION, for example orders/0".to_owned();
    let (topic, partition) = text.split_once('/').ok_or_else(wanted)?;
    let partition = partition.parse().ok().filter(|number: &i32| *number >= 0);
    Ok(TopicPartition {
        topic: topic.parse().map_err(|error| format!("{error}"))?,
        partition: PartitionIndex(partition.ok_or_else(wanted)?),
    })
}

/// The partitions that `selectors` name.
pub(crate) async fn selected(
    admin: &Admin,
    selectors: &[PartitionSelector],
) -> Result<Vec<TopicPartition>, CliError> {
    let mut selected = Vec::new();
    for PartitionSelector { topic, partition } in selectors {
        match partition {
            Some(partition) => selected.push(TopicPartition {
                topic: topic.clone(),
                partition: *partition,
            }),
            None => {
                let described = admin.describe_topic(topic).await?;
                let names = described.partitions.iter();
                selected.extend(names.map(|partition| partition.topic_partition()));
            }
        }
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_or_one_of_its_partitions_is_named() {
        let all: PartitionSelector = "orders".parse().unwrap();
        assert_eq!(all.partition, None);
        let one: PartitionSelector = "orders/3".parse().unwrap();
        assert_eq!(one.partition, Some(PartitionIndex(3)));

        for wrong in ["", "orders/", "orders/x", "orders/-1", "/3"] {
            assert!(wrong.parse::<PartitionSelector>().is_err(), "{wrong}");
        }
        assert!(parse_partition("orders").is_err());
    }
}
