//! How a runner begins a reign: what its outputs have is read back from them, and a marker in each keeps the runners
//! before it from writing more.
//!
//! What an output's leader knows of the producer may be overtaken before the marker is there: the marker says what
//! it follows, and where the leader knows more by then it is refused and asked again. So what
//! each output is known to have when this is over is final.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use thalweg_record::Codec;
use thalweg_runtime::{Backoff, BackoffOptions, blocking};
use thalweg_types::resource::StartPosition;
use thalweg_types::{
    Follows, Offset, ProducerEpoch, TopicPartition, TransformProgress, TransformRunState,
};

use super::leaders::{KnownRunner, LeaderError, Leaders};
use super::output_writer::{OutputWriter, SealedBatch, WriterOptions};
use super::plan::RunnerPlan;
use super::reporter::Reporter;
use super::routes::{RoutedTopic, Routes};
use super::runner::Shared;
use crate::context::SpuContext;

/// A runner's outputs, fenced.
pub(super) struct Begun {
    pub(super) routes: Arc<Routes>,
    pub(super) writers: Vec<OutputWriter>,
    /// The output partitions by their numbers, each with the number of its topic in the plan.
    pub(super) partitions: Vec<(usize, TopicPartition)>,
    /// Where the marker stands that each begins with.
    pub(super) markers: Vec<Offset>,
    /// Whether partitions of an output are left out that came to it meanwhile: they have their turn once all others
    /// are at the same position.
    pub(super) is_narrow: bool,
    /// For a transform that keeps state: all of its changelog's partition below this is its own doing.
    pub(super) kept_until: Option<Offset>,
}

/// Why a runner can't begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotBegun {
    #[error(transparent)]
    Leader(#[from] LeaderError),
    #[error("the input's log can't be read for where to start: {0}")]
    Start(String),
    #[error(
        "the transform has begun as often as it can on `{0}`: give it a new start with `thalweg transform reset`"
    )]
    Epochs(TopicPartition),
    #[error(
        "`{output}` has what the transform wrote up to input offset {position} alone, and its state is that of {kept}: what lay between is lost, as after an unclean election. Give it a new start with `thalweg transform reset`"
    )]
    Lost {
        output: TopicPartition,
        position: Offset,
        kept: Offset,
    },
    #[error(
        "the changelog `{0}` knows nothing of the transform, and its outputs do: its state is lost. Give it a new start with `thalweg transform reset`"
    )]
    NoState(TopicPartition),
}

/// What is found at one output.
struct Found {
    topic: usize,
    partition: TopicPartition,
    known: Option<KnownRunner>,
}

impl Found {
    fn progress(&self) -> Option<TransformProgress> {
        self.known.as_ref()?.progress
    }
}

/// Begins with what the outputs have.
pub(super) async fn begin(
    shared: &Shared,
    plan: &RunnerPlan,
    reporter: &Reporter,
) -> Result<Begun, NotBegun> {
    let Shared {
        context, leaders, ..
    } = shared;
    let told = |error: &LeaderError| {
        reporter.state(TransformRunState::Waiting, &error.to_string());
    };
    let all = routes_of(plan, |topic, _| topic.partition_count);
    let asked = all.partitions().map(|(topic, partition)| async move {
        let known = leaders.known(&partition, plan.producer_id(), told).await?;
        Ok::<_, LeaderError>(Found {
            topic,
            partition,
            known,
        })
    });
    let found = try_join_all(asked).await?;
    if plan.keeps_state {
        check_state(&found)?;
    }
    let known: Vec<_> = found.iter().filter_map(Found::progress).collect();
    let at = match known.iter().min_by_key(|progress| progress.position) {
        Some(slowest) => slowest.position,
        None => start(plan).await?,
    };
    let is_even = known
        .iter()
        .all(|progress| progress.position == at && progress.records_within == 0);
    // Keys go to other partitions where there are more: that must not happen between two that are not at the same
    // position.
    let routes = routes_of(plan, |topic, number| {
        if is_even {
            return topic.partition_count;
        }
        let of_topic: Vec<_> = found.iter().filter(|found| found.topic == number).collect();
        let last_known = of_topic
            .iter()
            .rposition(|found| found.progress().is_some());
        last_known.map_or(topic.partition_count, |last| last + 1)
    });
    let partitions: Vec<_> = routes.partitions().collect();
    let is_narrow = partitions.len() < found.len();
    let writers = partitions.iter().map(|(topic, partition)| {
        let found = found.iter().find(|found| found.partition == *partition);
        let known = found.and_then(|found| found.known);
        let codec = plan.codec();
        async move {
            let output = Fencing {
                context,
                leaders,
                plan,
                topic: *topic,
                partition,
                codec,
            };
            output.fence(known, at, told).await
        }
    });
    let (mut writers, mut markers): (Vec<_>, Vec<_>) =
        try_join_all(writers).await?.into_iter().unzip();
    if plan.transform.spec.capabilities.http.is_some()
        && let (Some(writer), Some(marker)) = (writers.last_mut(), markers.last_mut())
        && let Some((_, changelog)) = partitions.last()
    {
        // Answers to requests are in the changelog before an output has what came of them, and nobody fences those who write
        // them: all that the outputs have come of stand before a marker that is written now.
        *marker = mark_again(shared, changelog, writer, told).await?;
    }
    let last_marker: Option<&Offset> = markers.last().filter(|_| plan.keeps_state);
    Ok(Begun {
        kept_until: last_marker.map(|marker| marker.next()),
        markers,
        routes: Arc::new(routes),
        writers,
        partitions,
        is_narrow,
    })
}

/// Writes another marker of the position where `writer` stands; where that is.
async fn mark_again(
    shared: &Shared,
    partition: &TopicPartition,
    writer: &mut OutputWriter,
    told: impl Fn(&LeaderError),
) -> Result<Offset, NotBegun> {
    loop {
        let position = writer.position();
        let marker = writer.mark(position, shared.context.clock.now_ms());
        let (bytes, output): (Bytes, _) = (marker.bytes, marker.output);
        let written = shared.leaders.append(partition, &bytes, output, &told);
        let written = written.await?;
        // Where an earlier attempt was not answered nobody knows where it stands.
        if written.offset >= Offset::ZERO {
            return Ok(written.offset);
        }
    }
}

/// The changelog, which is the last of what was found, is never ahead of an output that was not cut, and as old as they.
fn check_state(found: &[Found]) -> Result<(), NotBegun> {
    let Some((changelog, outputs)) = found.split_last() else {
        return Ok(());
    };
    let known = outputs
        .iter()
        .filter_map(|output| Some((output, output.progress()?)));
    match changelog.progress() {
        Some(kept) => {
            let mut behind = known.filter(|(_, progress)| progress.position < kept.position);
            behind.next().map_or(Ok(()), |(output, progress)| {
                Err(NotBegun::Lost {
                    output: output.partition.clone(),
                    position: progress.position,
                    kept: kept.position,
                })
            })
        }
        // All began at the same position, and the first reign ended before all had.
        None => {
            let mut positions = known.map(|(_, progress)| progress.position);
            let first = positions.next();
            if positions.all(|position| Some(position) == first) {
                return Ok(());
            }
            Err(NotBegun::NoState(changelog.partition.clone()))
        }
    }
}

/// One output that is being fenced.
struct Fencing<'a> {
    context: &'a SpuContext,
    leaders: &'a Leaders,
    plan: &'a RunnerPlan,
    topic: usize,
    partition: &'a TopicPartition,
    codec: Codec,
}

impl Fencing<'_> {
    /// Writes the marker of a new epoch behind what the leader knows, asked again until it is there; where it stands.
    async fn fence(
        &self,
        mut known: Option<KnownRunner>,
        at: Offset,
        told: impl Fn(&LeaderError),
    ) -> Result<(OutputWriter, Offset), NotBegun> {
        let mut backoff = Backoff::new(BackoffOptions::default());
        loop {
            let (writer, marker) = self.writer(known, at)?;
            let bytes: Bytes = marker.bytes;
            match self
                .leaders
                .append_once(self.partition, bytes, marker.output)
                .await
            {
                Ok(marker) => return Ok((writer, marker.offset)),
                Err(error @ LeaderError::Refused { .. }) => return Err(error.into()),
                // It may be there, or somebody else's.
                Err(error @ LeaderError::NotNow { .. }) => told(&error),
                Err(LeaderError::Fenced { .. }) => {}
            }
            tokio::time::sleep(backoff.next_delay()).await;
            let producer = self.plan.producer_id();
            known = self.leaders.known(self.partition, producer, &told).await?;
        }
    }

    fn writer(
        &self,
        known: Option<KnownRunner>,
        at: Offset,
    ) -> Result<(OutputWriter, SealedBatch), NotBegun> {
        let (epoch, follows) = match known {
            None => (0, Follows::Nothing),
            Some(known) => {
                let next = known.producer_epoch.0.checked_add(1);
                let next = next.ok_or_else(|| NotBegun::Epochs(self.partition.clone()))?;
                let follows = Follows::Batch {
                    producer_epoch: known.producer_epoch,
                    last_sequence: known.last_sequence,
                };
                (next, follows)
            }
        };
        let progress = known.and_then(|known| known.progress);
        let progress = progress.unwrap_or(TransformProgress {
            position: at,
            records_within: 0,
        });
        let options = WriterOptions {
            producer_id: self.plan.producer_id(),
            producer_epoch: ProducerEpoch(epoch),
            batch_bytes_max: self.plan.written[self.topic].batch_bytes_max,
            codec: self.codec,
        };
        let now_ms = self.context.clock.now_ms();
        Ok(OutputWriter::begin(options, progress, follows, now_ms))
    }
}

/// Routes to as many partitions of each topic as `count` says.
fn routes_of(plan: &RunnerPlan, count: impl Fn(&RoutedTopic, usize) -> usize) -> Routes {
    let topics = plan.written.iter().enumerate().map(|(number, written)| {
        let partition_count = count(&written.routed, number);
        RoutedTopic {
            partition_count,
            ..written.routed.clone()
        }
    });
    let spec = &plan.transform.spec;
    Routes::new(topics.collect(), spec.partitioning, plan.key.partition)
}

/// Where a transform begins that its outputs know nothing of.
async fn start(plan: &RunnerPlan) -> Result<Offset, NotBegun> {
    let replica = &plan.replica;
    let log = Arc::clone(replica.log());
    let end = match plan.transform.spec.start {
        StartPosition::Beginning => return Ok(log.log_start()),
        StartPosition::Offset(offset) => {
            let end = known_end(plan).await;
            return Ok(offset.clamp(log.log_start(), end));
        }
        StartPosition::End | StartPosition::TimestampMs(_) => known_end(plan).await,
    };
    let StartPosition::TimestampMs(at_ms) = plan.transform.spec.start else {
        return Ok(end);
    };
    // It reads the disk.
    let found = blocking(move || log.offset_for_timestamp(at_ms, end)).await;
    let found = found.map_err(|_| NotBegun::Start("the SPU is shutting down".to_owned()))?;
    let found = found.map_err(|error| NotBegun::Start(error.to_string()))?;
    Ok(found.map_or(end, |(offset, _)| offset))
}

/// The high watermark, once it is known to be as high as before this reign.
async fn known_end(plan: &RunnerPlan) -> Offset {
    loop {
        if let Some(end) = plan.replica.known_high_watermark() {
            return end;
        }
        plan.replica
            .wait_for_data(plan.replica.high_watermark())
            .await;
        if plan.replica.has_ended() {
            return plan.replica.high_watermark();
        }
    }
}
