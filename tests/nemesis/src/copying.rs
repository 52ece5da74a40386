//! Transforms that copy topics while harm is done, through a SmartModule that lets everything pass, and transforms that
//! count the records of each partition, which is what they keep.

use anyhow::Context;
use thalweg_client::{
    Admin, Client, NewSmartModule, NewTransform, OnError, TransformDescription, resource,
};
use thalweg_types::{
    ChainSpec, CompressionPolicy, ResourceName, StepSpec, TopicName, TopicPartition,
};

use crate::clients::{Recorder, read_log, read_numbers};
use crate::healed::{HEALED_WITHIN, in_time};
use crate::history::{Copied, Counted};
use crate::topics::{TopicOptions, create_topic, partitions};

/// How many partitions a copy has: other than the topic, so that records go by their keys.
const PARTITIONS: i32 = 3;
/// The name of the SmartModule that lets everything pass.
const EVERYTHING: &str = "everything";
/// The name of the one that counts.
const COUNT: &str = "count";

/// What transforms copy and count with.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// The SmartModule that lets everything pass.
    pub everything: Vec<u8>,
    /// The one that counts records.
    pub count: Vec<u8>,
    /// How large a segment of an output gets.
    pub segment_bytes: &'static str,
}

/// Has every topic copied and counted from now on, and notes it.
///
/// # Errors
/// When a module, a topic or a transform can't be made.
pub async fn copy(
    admin: &Admin,
    topics: &[TopicName],
    options: CopyOptions,
    recorder: &Recorder,
) -> anyhow::Result<()> {
    let everything = NewSmartModule::new(EVERYTHING.parse()?, options.everything);
    admin.create_smart_module(everything).await?;
    let count = NewSmartModule::new(COUNT.parse()?, options.count);
    admin.create_smart_module(count).await?;
    for topic in topics {
        let to: TopicName = format!("{topic}-copy").parse()?;
        create_output(admin, &to, PARTITIONS, options.segment_bytes).await?;
        let spec = spec(EVERYTHING, topic, &to, resource::OutputPartitioning::Key)?;
        create(admin, copy_of(topic)?, spec).await?;
        recorder.history().copies.push(Copied {
            from: topic.clone(),
            to,
            partition_count: usize::try_from(PARTITIONS)?,
        });

        let to: TopicName = format!("{topic}-count").parse()?;
        let described = admin.describe_topic(topic).await?;
        let partition_count = i32::try_from(described.partitions.len())?;
        create_output(admin, &to, partition_count, options.segment_bytes).await?;
        let spec = spec_of_count(topic, &to)?;
        create(admin, count_of(topic)?, spec).await?;
        let from = topic.clone();
        recorder.history().counts.push(Counted { from, to });
    }
    Ok(())
}

async fn create_output(
    admin: &Admin,
    name: &TopicName,
    partitions: i32,
    segment_bytes: &'static str,
) -> anyhow::Result<()> {
    let options = TopicOptions {
        partitions,
        durability: "fsync",
        segment_bytes,
    };
    create_topic(admin, name, options).await
}

fn spec_of_count(from: &TopicName, to: &TopicName) -> anyhow::Result<resource::TransformSpec> {
    spec(COUNT, from, to, resource::OutputPartitioning::Preserve)
}

fn spec(
    module: &str,
    from: &TopicName,
    to: &TopicName,
    partitioning: resource::OutputPartitioning,
) -> anyhow::Result<resource::TransformSpec> {
    let step = StepSpec {
        uses: module.parse()?,
        with: std::collections::BTreeMap::new(),
        look_back: None,
        on_error: OnError::Stop,
        aggregate: None,
    };
    Ok(resource::TransformSpec {
        inputs: vec![from.clone()],
        outputs: vec![to.clone()],
        chain: ChainSpec { steps: vec![step] },
        start: resource::StartPosition::Beginning,
        partitioning,
        compression: CompressionPolicy::Uncompressed,
        dedup: None,
        tables: Vec::new(),
        capabilities: thalweg_types::Capabilities::default(),
        canary: None,
        backfill: None,
        paused: false,
    })
}

async fn create(
    admin: &Admin,
    name: ResourceName,
    spec: resource::TransformSpec,
) -> anyhow::Result<()> {
    let transform = NewTransform {
        name,
        spec,
        validate_only: false,
    };
    admin.create_transform(transform).await?;
    Ok(())
}

/// Waits until the transforms are where their topics end, and reads what they wrote.
///
/// # Errors
/// When a transform does not come to the end of its input, or what it wrote can't be read.
pub async fn read_copies(client: &Client, recorder: &Recorder) -> anyhow::Result<()> {
    let admin = client.admin();
    let copies = recorder.history().copies.clone();
    for copied in copies {
        catch_up(&admin, &copy_of(&copied.from)?).await?;
        for name in partitions_of(&admin, &copied.to).await? {
            let reading = tokio::time::timeout(HEALED_WITHIN, read_log(client, &name)).await;
            let log = reading.with_context(|| format!("{name} can't be read to its end"))??;
            recorder.history().copied.insert(name, log);
        }
    }
    let counts = recorder.history().counts.clone();
    for counted in counts {
        catch_up(&admin, &count_of(&counted.from)?).await?;
        for name in partitions_of(&admin, &counted.to).await? {
            let reading = tokio::time::timeout(HEALED_WITHIN, read_numbers(client, &name)).await;
            let counts = reading.with_context(|| format!("{name} can't be read to its end"))??;
            recorder.history().counted.insert(name, counts);
        }
    }
    Ok(())
}

async fn catch_up(admin: &Admin, name: &ResourceName) -> anyhow::Result<()> {
    let caught_up = in_time("a transform has come to the end of its input", || async {
        let described = admin.describe_transform(name).await.ok()?;
        is_caught_up(admin, &described).await.then_some(())
    });
    if let Err(error) = caught_up.await {
        let described = admin.describe_transform(name).await?;
        return Err(error.context(format!("{name}: {:?}", described.partitions)));
    }
    Ok(())
}

async fn partitions_of(admin: &Admin, topic: &TopicName) -> anyhow::Result<Vec<TopicPartition>> {
    let topics = [topic.clone()];
    let all = in_time("the output is described", || partitions(admin, &topics)).await?;
    Ok(all.iter().map(|one| one.topic_partition()).collect())
}

/// Whether every runner has come to where its input ends now.
async fn is_caught_up(admin: &Admin, described: &TransformDescription) -> bool {
    for partition in &described.partitions {
        let Ok(range) = admin.partition_offsets(&partition.input).await else {
            return false;
        };
        let position = partition.report.as_ref().map(|report| report.position);
        if position.is_none_or(|position| position < range.end) {
            return false;
        }
    }
    true
}

fn copy_of(topic: &TopicName) -> anyhow::Result<ResourceName> {
    Ok(format!("copy-{topic}").parse()?)
}

fn count_of(topic: &TopicName) -> anyhow::Result<ResourceName> {
    Ok(format!("count-{topic}").parse()?)
}
