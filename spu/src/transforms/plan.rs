//! What the runner of a transform on one input partition is to do, as the view and the replicas say. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use thalweg_record::Codec;
use thalweg_types::resource::{SmartModuleKind, TransformNumber, TransformSpec, TransformState};
use thalweg_types::{
    ChainSpec, CompressionPolicy, PartitionIndex, ProducerId, TopicName, TopicPartition,
};

use super::routes::RoutedTopic;
use super::tables::TableTopic;
use crate::cluster_view::{TransformView, View};
use crate::replica::Replica;

/// How old a marker becomes in a log that keeps what it has for long.
const REMARK_AFTER: Duration = Duration::from_secs(600);
/// The same in one that is bounded by its size, which others may fill.
const REMARK_BOUNDED_AFTER: Duration = Duration::from_secs(30);

/// Names a runner: a transform on one input partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RunnerKey {
    pub(super) number: TransformNumber,
    /// Which of the transform's inputs.
    pub(super) input: usize,
    pub(super) partition: PartitionIndex,
}

/// What a runner is to do. Another plan is another reign of the runner.
#[derive(Debug, Clone)]
pub(super) struct RunnerPlan {
    pub(super) transform: Arc<TransformView>,
    pub(super) key: RunnerKey,
    /// The input.
    pub(super) replica: Arc<Replica>,
    /// What the partition runs: the transform's chain, or its canary's.
    pub(super) chain: Arc<ChainSpec>,
    /// What the names of the chain's modules stand for; absent where this SPU has not heard of them.
    sha256s: Vec<Option<String>>,
    /// Whether it keeps something between records: then the last of the topics that it writes is its changelog.
    pub(super) keeps_state: bool,
    /// What its modules look keys up in.
    pub(super) tables: Vec<TableTopic>,
    /// The topics that it writes.
    pub(super) written: Vec<WrittenTopic>,
}

/// A topic that a runner writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrittenTopic {
    pub(super) routed: RoutedTopic,
    /// The largest batch that it takes.
    pub(super) batch_bytes_max: usize,
    /// How old the runner's last marker may become.
    pub(super) remark_after: Duration,
}

impl RunnerPlan {
    /// The plan for a transform over `replica`; `None` where it is not to run, or this SPU has yet to hear of a topic
    /// that it writes. `read` are the inputs of all transforms.
    pub(super) fn of(
        view: &View,
        read: &BTreeSet<&TopicName>,
        transform: &Arc<TransformView>,
        key: RunnerKey,
        replica: Arc<Replica>,
    ) -> Option<Self> {
        if transform.state != TransformState::Running || transform.spec.paused {
            return None;
        }
        let partition_count = view
            .topic(&replica.topic_partition().topic)?
            .partition_count;
        let spec = &transform.spec;
        let chain = spec.chain_on(key.partition, partition_count);
        let mut written: Vec<WrittenTopic> = Vec::new();
        for name in spec.written_by(chain) {
            if written.iter().all(|known| known.routed.name != *name) {
                written.push(WrittenTopic::of(view, transform, name, read)?);
            }
        }
        let tables = spec.tables.iter().map(|name| {
            let topic = view.topic(name)?;
            Some(TableTopic {
                name: name.clone(),
                id: topic.id,
                partition_count: topic.partition_count,
            })
        });
        let tables = tables.collect::<Option<Vec<_>>>()?;
        let steps = chain.steps.iter();
        let modules = steps.map(|step| {
            let module = view.smart_modules.get(&step.uses.name)?;
            module.resolve(&step.uses).ok()
        });
        let modules: Vec<_> = modules.collect();
        let mut known = modules.iter().flatten();
        let accumulates = known.any(|module| module.kind == SmartModuleKind::Aggregate);
        let keeps_state = accumulates || spec.dedup.is_some() || spec.capabilities.keep_state();
        if keeps_state {
            let name = transform.number.changelog();
            let mut changelog = WrittenTopic::of(view, transform, &name, read)?;
            let own = usize::try_from(key.partition.0).ok()?;
            if own >= changelog.routed.partition_count {
                return None;
            }
            changelog.routed.is_changelog = true;
            written.push(changelog);
        }
        let sha256s = modules.into_iter();
        let sha256s = sha256s.map(|module| module.map(|module| module.sha256.clone()));
        Some(Self {
            key,
            keeps_state,
            tables,
            sha256s: sha256s.collect(),
            chain: Arc::new(chain.clone()),
            transform: Arc::clone(transform),
            replica,
            written,
        })
    }

    /// The input partition.
    pub(super) fn input(&self) -> &TopicPartition {
        self.replica.topic_partition()
    }

    /// As whom it writes.
    pub(super) fn producer_id(&self) -> ProducerId {
        self.key
            .number
            .producer_id(self.key.input, self.key.partition)
    }

    /// How its batches are compressed.
    pub(super) fn codec(&self) -> Codec {
        match self.transform.spec.compression {
            // What the input's producers chose may be anything from batch to batch; its topic's is one.
            CompressionPolicy::Producer => {
                Codec::of_policy(self.replica.config().compression()).unwrap_or(Codec::None)
            }
            policy => Codec::of_policy(policy).unwrap_or(Codec::None),
        }
    }
}

impl PartialEq for RunnerPlan {
    fn eq(&self, other: &Self) -> bool {
        let Self {
            transform,
            key,
            replica,
            chain,
            sha256s,
            keeps_state,
            tables,
            written,
        } = self;
        *key == other.key
            && works_alike(&transform.spec, &other.transform.spec)
            && *chain == other.chain
            && Arc::ptr_eq(replica, &other.replica)
            && *sha256s == other.sha256s
            && *keeps_state == other.keeps_state
            && *tables == other.tables
            && *written == other.written
    }
}

/// Whether two specs ask the same of a runner that runs the same chain: what other partitions run, and whether they do, is of
/// no weight to it.
fn works_alike(one: &TransformSpec, other: &TransformSpec) -> bool {
    let TransformSpec {
        inputs,
        outputs,
        chain: _,
        start,
        partitioning,
        compression,
        dedup,
        tables,
        capabilities,
        canary: _,
        backfill: _,
        paused,
    } = one;
    *inputs == other.inputs
        && *outputs == other.outputs
        && *start == other.start
        && *partitioning == other.partitioning
        && *compression == other.compression
        && *dedup == other.dedup
        && *tables == other.tables
        && *capabilities == other.capabilities
        && *paused == other.paused
}

impl WrittenTopic {
    fn of(
        view: &View,
        transform: &TransformView,
        name: &TopicName,
        read: &BTreeSet<&TopicName>,
    ) -> Option<Self> {
        let topic = view.topic(name)?;
        let partition_count = usize::try_from(topic.partition_count).ok()?;
        if partition_count == 0 {
            return None;
        }
        let by_age = topic.config.retention().map(|retention| retention / 4);
        let by_size = topic.config.retention_bytes().map(|_| REMARK_BOUNDED_AFTER);
        let remark_after = [Some(REMARK_AFTER), by_age, by_size]
            .into_iter()
            .flatten()
            .min();
        Some(Self {
            routed: RoutedTopic {
                name: name.clone(),
                partition_count,
                is_read: read.contains(name),
                is_output: transform.spec.outputs.contains(name),
                is_changelog: false,
            },
            batch_bytes_max: topic.config.max_message_bytes() as usize,
            remark_after: remark_after
                .unwrap_or(REMARK_AFTER)
                .max(Duration::from_secs(1)),
        })
    }
}
