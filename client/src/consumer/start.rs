//! Where a consumer begins and stops, partition by partition, before it fetches anything.

use thalweg_types::{Offset, PartitionIndex, TopicName, TopicPartition};

use super::fetch::new_stream;
use super::progress::PartitionProgress;
use super::{
    Checkpoint, ConsumeError, ConsumerOptions, EndOffset, OnOutOfRange, PartitionSelection,
    StartOffset,
};
use crate::client::ClientCore;
use crate::data::{LogPosition, OpenStreamError, close_stream, kafka_name, open_stream};
use crate::group::Offsets;
use crate::leader_calls::{Answers, LeaderCallError, LeaderQuestion};

/// The partitions to read, each at its start.
pub(crate) async fn begin(
    core: &ClientCore,
    topic: &TopicName,
    options: &ConsumerOptions,
) -> Result<Vec<PartitionProgress>, ConsumeError> {
    let Some(metadata) = core.existing_topic(topic).await? else {
        return Err(ConsumeError::UnknownTopic {
            topic: topic.clone(),
        });
    };
    let partition_count = metadata.partitions.len();
    let partitions = select(topic, &options.partitions, partition_count)?;
    let begin = partitions.into_iter().map(|partition| {
        let start = options.resume.get(&partition).cloned();
        (partition, start)
    });
    begin_at(core, topic, begin.collect(), options).await
}

/// Refuses what a member of a group can't do, before it joins.
pub(crate) async fn check_group(
    core: &ClientCore,
    topic: &TopicName,
    options: &ConsumerOptions,
) -> Result<(), ConsumeError> {
    let refuse = |what, instead| Err(ConsumeError::NotInGroup { what, instead });
    if options.partitions != PartitionSelection::All {
        return refuse(
            "partitions",
            "the group gives it some; leave the group out to choose them",
        );
    }
    if !options.resume.is_empty() {
        return refuse(
            "checkpoints",
            "the group knows where to go on; leave one of them out",
        );
    }
    if options.accumulator.is_some() || options.accumulate_by_key {
        return refuse(
            "an aggregate",
            "a group keeps offsets, and not what an aggregate has come to; leave the group out, and keep checkpoints",
        );
    }
    match core.existing_topic(topic).await? {
        Some(_) => Ok(()),
        None => Err(ConsumeError::UnknownTopic {
            topic: topic.clone(),
        }),
    }
}

/// These partitions, each at what a group has committed, or else where the options say.
pub(crate) async fn begin_partitions(
    core: &ClientCore,
    topic: &TopicName,
    partitions: &[PartitionIndex],
    options: &ConsumerOptions,
    committed: &Offsets,
) -> Result<Vec<PartitionProgress>, ConsumeError> {
    let begin = partitions.iter().map(|partition| {
        let start = committed.get(partition).copied().map(Checkpoint::at);
        (*partition, start)
    });
    begin_at(core, topic, begin.collect(), options).await
}

/// Opens and closes a stream with the consumer's SmartModules. One that has nothing to read opens
/// none otherwise, and so would never hear that they are refused.
pub(crate) async fn check_smartmodules(
    core: &ClientCore,
    topic: &TopicName,
    options: &ConsumerOptions,
) -> Result<(), ConsumeError> {
    if options.smartmodules.is_empty() {
        return Ok(());
    }
    let address = core.metadata.any_spu().await?;
    let connection = core.connections.get(&address).await?;
    let new = new_stream(topic, options);
    let opened = open_stream(&connection, new, options.request_timeout);
    match opened.await {
        Ok(stream) => {
            close_stream(&connection, stream, options.request_timeout).await;
            Ok(())
        }
        Err(OpenStreamError::Refused(message)) => {
            Err(ConsumeError::SmartModulesRefused { message })
        }
        Err(OpenStreamError::Request(error)) => Err(error.into()),
    }
}

/// Partitions, each where it is given or else where the options say.
async fn begin_at(
    core: &ClientCore,
    topic: &TopicName,
    partitions: Vec<(PartitionIndex, Option<Checkpoint>)>,
    options: &ConsumerOptions,
) -> Result<Vec<PartitionProgress>, ConsumeError> {
    let to_find = partitions.iter().filter(|(_, given)| given.is_none());
    let to_find: Vec<_> = to_find.map(|(partition, _)| *partition).collect();
    let found = starts_of(core, topic, &to_find, options).await?;
    let all: Vec<_> = partitions.iter().map(|(partition, _)| *partition).collect();
    let ends = ends_of(core, topic, &all, options).await?;
    let mut begun = Vec::with_capacity(partitions.len());
    for (partition, given) in partitions {
        let start = given.unwrap_or_else(|| Checkpoint::at(found[&partition]));
        let end = ends.get(&partition).copied();
        let is_beyond = |end: &Offset| start.offset > *end && options.end == EndOffset::LogEnd;
        if let Some(log_end) = end.filter(is_beyond) {
            let named = TopicPartition {
                topic: topic.clone(),
                partition,
            };
            refuse_beyond(core, &named, options, start.offset, log_end).await?;
        }
        begun.push(PartitionProgress::new(partition, start, end));
    }
    Ok(begun)
}

/// A consumer that stops at the end of the log would not ask for anything behind it, and so never
/// hear that its start is out of range.
async fn refuse_beyond(
    core: &ClientCore,
    partition: &TopicPartition,
    options: &ConsumerOptions,
    start: Offset,
    log_end: Offset,
) -> Result<(), ConsumeError> {
    if options.on_out_of_range != OnOutOfRange::Fail {
        return Ok(());
    }
    Err(ConsumeError::OffsetOutOfRange {
        partition: partition.clone(),
        offset: start,
        log_start: position(core, partition, options, LogPosition::Start).await?,
        log_end,
    })
}

/// Where a log begins or ends, as this consumer may see it.
pub(crate) async fn position(
    core: &ClientCore,
    partition: &TopicPartition,
    options: &ConsumerOptions,
    position: LogPosition,
) -> Result<Offset, ConsumeError> {
    core.ask_leader(partition, question(options, position))
        .await
        .map_err(|error| consume_error(partition, error))
}

/// As [`position`], of many.
async fn positions(
    core: &ClientCore,
    topic: &TopicName,
    partitions: &[PartitionIndex],
    options: &ConsumerOptions,
    position: LogPosition,
) -> Result<Answers, ConsumeError> {
    let asked = core.ask_leaders(topic, partitions, question(options, position));
    asked.await.map_err(|(partition, error)| {
        let topic = topic.clone();
        consume_error(&TopicPartition { topic, partition }, error)
    })
}

fn question(options: &ConsumerOptions, position: LogPosition) -> LeaderQuestion {
    LeaderQuestion::LogOffset {
        position,
        isolation: options.isolation.wire_value(),
    }
}

fn select(
    topic: &TopicName,
    selection: &PartitionSelection,
    partition_count: usize,
) -> Result<Vec<PartitionIndex>, ConsumeError> {
    let count = i32::try_from(partition_count).unwrap_or(i32::MAX);
    let mut partitions = match selection {
        PartitionSelection::All => (0..count).map(PartitionIndex).collect(),
        PartitionSelection::Only(partitions) => partitions.clone(),
    };
    partitions.sort_unstable();
    partitions.dedup();
    match partitions
        .iter()
        .find(|index| !(0..count).contains(&index.0))
    {
        Some(unknown) => Err(ConsumeError::UnknownPartition {
            topic: topic.clone(),
            partition: *unknown,
            partition_count,
        }),
        None => Ok(partitions),
    }
}

async fn starts_of(
    core: &ClientCore,
    topic: &TopicName,
    partitions: &[PartitionIndex],
    options: &ConsumerOptions,
) -> Result<Answers, ConsumeError> {
    let at = |at| positions(core, topic, partitions, options, at);
    match options.start {
        StartOffset::Beginning => at(LogPosition::Start).await,
        StartOffset::End => at(LogPosition::End).await,
        StartOffset::Offset(offset) => Ok(everywhere(partitions, offset)),
        StartOffset::FromBeginning(count) => {
            let mut starts = at(LogPosition::Start).await?;
            let ends = at(LogPosition::End).await?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            for (partition, start) in &mut starts {
                *start = Offset(start.0.saturating_add(count)).min(ends[partition]);
            }
            Ok(starts)
        }
        StartOffset::FromEnd(count) => {
            let mut ends = at(LogPosition::End).await?;
            let starts = at(LogPosition::Start).await?;
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            for (partition, end) in &mut ends {
                *end = Offset(end.0.saturating_sub(count)).max(starts[partition]);
            }
            Ok(ends)
        }
        StartOffset::Timestamp(timestamp_ms) => {
            let mut found = at(LogPosition::Timestamp(timestamp_ms)).await?;
            let is_nowhere = |(_, found): &(&PartitionIndex, &Offset)| **found < Offset::ZERO;
            let nowhere = found.iter().filter(is_nowhere);
            let nowhere: Vec<_> = nowhere.map(|(partition, _)| *partition).collect();
            found.extend(positions(core, topic, &nowhere, options, LogPosition::End).await?);
            Ok(found)
        }
    }
}

/// Empty where there is no end.
async fn ends_of(
    core: &ClientCore,
    topic: &TopicName,
    partitions: &[PartitionIndex],
    options: &ConsumerOptions,
) -> Result<Answers, ConsumeError> {
    match options.end {
        EndOffset::Never => Ok(Answers::new()),
        EndOffset::Offset(offset) => Ok(everywhere(partitions, offset)),
        EndOffset::LogEnd => positions(core, topic, partitions, options, LogPosition::End).await,
    }
}

fn everywhere(partitions: &[PartitionIndex], offset: Offset) -> Answers {
    let each = partitions.iter().map(|partition| (*partition, offset));
    each.collect()
}

fn consume_error(partition: &TopicPartition, error: LeaderCallError) -> ConsumeError {
    match error {
        LeaderCallError::UnknownTopic => ConsumeError::UnknownTopic {
            topic: partition.topic.clone(),
        },
        LeaderCallError::UnknownPartition { partition_count } => ConsumeError::UnknownPartition {
            topic: partition.topic.clone(),
            partition: partition.partition,
            partition_count,
        },
        LeaderCallError::Refused { kafka_code } => ConsumeError::Refused {
            partition: partition.clone(),
            kafka_code,
            name: kafka_name(kafka_code),
        },
        LeaderCallError::Request(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_that_does_not_exist_is_named() {
        let topic = "t".parse().unwrap();
        let only = |indexes: &[i32]| {
            PartitionSelection::Only(indexes.iter().copied().map(PartitionIndex).collect())
        };

        assert_eq!(select(&topic, &only(&[2, 0, 2]), 3).unwrap().len(), 2);
        let error = select(&topic, &only(&[0, 3]), 3).unwrap_err();
        assert_eq!(
            error.to_string(),
            "topic `t` has no partition 3, it has 3, counted from 0"
        );
    }
}
