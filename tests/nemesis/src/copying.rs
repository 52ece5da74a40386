//! Transforms that copy topics while harm is done, through a SmartModule that lets everything pass.

use anyhow::Context;
use thalweg_client::{Admin, Client, NewSmartModule, NewTransform, TransformDescription, resource};
use thalweg_tests_cluster::modules;
use thalweg_types::{ChainSpec, CompressionPolicy, ResourceName, StepSpec, TopicName};

use crate::clients::{Recorder, read_log};
use crate::healed::{HEALED_WITHIN, in_time};
use crate::history::Copied;
use crate::topics::{TopicOptions, create_topic, partitions};

/// How many partitions a copy has: other than the topic, so that records go by their keys.
const PARTITIONS: i32 = 3;
/// The SmartModule.
const MODULE: &str = "everything";

/// Has every topic copied from now on, and notes it.
///
/// # Errors
/// When the module, a topic or a transform can't be made.
pub async fn copy(admin: &Admin, topics: &[TopicName], recorder: &Recorder) -> anyhow::Result<()> {
    let name: ResourceName = MODULE.parse()?;
    let module = NewSmartModule::new(name, modules::everything());
    admin.create_smart_module(module).await?;
    for topic in topics {
        let to: TopicName = format!("{topic}-copy").parse()?;
        let options = TopicOptions {
            partitions: PARTITIONS,
            durability: "fsync",
            segment_bytes: "200000",
        };
        create_topic(admin, &to, options).await?;
        let step = StepSpec {
            uses: MODULE.parse()?,
            with: std::collections::BTreeMap::new(),
            look_back: None,
            on_error: thalweg_client::OnError::Stop,
            aggregate: None,
        };
        let spec = resource::TransformSpec {
            inputs: vec![topic.clone()],
            outputs: vec![to.clone()],
            chain: ChainSpec { steps: vec![step] },
            start: resource::StartPosition::Beginning,
            partitioning: resource::OutputPartitioning::Key,
            compression: CompressionPolicy::Uncompressed,
            dedup: None,
            tables: Vec::new(),
            paused: false,
        };
        admin
            .create_transform(NewTransform {
                name: transform_of(topic)?,
                spec,
                validate_only: false,
            })
            .await?;
        recorder.history().copies.push(Copied {
            from: topic.clone(),
            to,
            partition_count: usize::try_from(PARTITIONS)?,
        });
    }
    Ok(())
}

/// Waits until the copies have all that their topics have, and reads them.
///
/// # Errors
/// When a transform does not come to the end of its input, or a copy can't be read.
pub async fn read_copies(client: &Client, recorder: &Recorder) -> anyhow::Result<()> {
    let admin = client.admin();
    let copies = recorder.history().copies.clone();
    for copied in copies {
        let name = transform_of(&copied.from)?;
        let caught_up = in_time("a transform has come to the end of its input", || async {
            let described = admin.describe_transform(&name).await.ok()?;
            is_caught_up(&admin, &described).await.then_some(())
        });
        if let Err(error) = caught_up.await {
            let described = admin.describe_transform(&name).await?;
            return Err(error.context(format!("{:?}", described.partitions)));
        }
        let topics = [copied.to.clone()];
        let all = in_time("the copy is described", || partitions(&admin, &topics)).await?;
        for partition in all {
            let name = partition.topic_partition();
            let reading = tokio::time::timeout(HEALED_WITHIN, read_log(client, &name)).await;
            let log = reading.with_context(|| format!("{name} can't be read to its end"))??;
            recorder.history().copied.insert(name, log);
        }
    }
    Ok(())
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

fn transform_of(topic: &TopicName) -> anyhow::Result<ResourceName> {
    Ok(format!("copy-{topic}").parse()?)
}
