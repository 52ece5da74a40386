//! Batches of transforms whose output this SPU leads itself: they go to the log without a request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use thalweg_record::{Batch, Codec};
use thalweg_storage::{Appended, ProducerSequences};
use thalweg_types::resource::TransformNumber;
use thalweg_types::{CleanupPolicy, Offset, TopicPartition};
use thalweg_wire::KafkaError;
use thalweg_wire::tags::OutputTag;

use crate::cluster_view::View;
use crate::data::refusal::Refusal;
use crate::data::streams::sequences_of;
use crate::replica::{Acks, Replica, ReplicaSet};

/// A batch of a transform for a log that is led here, which keeps it as it is.
pub(crate) struct LocalOutput {
    replica: Arc<Replica>,
    batch: Bytes,
    sequences: Option<ProducerSequences>,
}

impl LocalOutput {
    /// The batch, if it may go to the log of `partition` as it is: one that is led here, without a chain, of the batch's
    /// own codec, and without a need to look for keys. All others go to whoever leads by a request.
    pub(crate) fn of(
        replicas: &ReplicaSet,
        view: &View,
        partition: &TopicPartition,
        batch: &Bytes,
        output: OutputTag,
    ) -> Option<Self> {
        let topic = view.topic(&partition.topic)?;
        let replica = replicas.leader(&partition.topic, partition.partition, None);
        let (replica, parsed) = (replica.ok()?, Batch::parse(batch).ok()?);
        let config = replica.config();
        let wanted = Codec::of_policy(config.compression());
        let is_as_wanted = wanted.is_none() || wanted == parsed.header().codec().ok();
        // All that is kept there has a key.
        let is_changelog = TransformNumber::of_changelog(&partition.topic).is_some();
        let needs_keys = config.cleanup_policy() != CleanupPolicy::Delete && !is_changelog;
        let fits = batch.len() <= config.max_message_bytes() as usize;
        let is_changed = !topic.produce_chain.is_empty() || config.dedup().is_some();
        if is_changed || !is_as_wanted || needs_keys || !fits {
            return None;
        }
        Some(Self {
            sequences: output_sequences(batch, output),
            batch: batch.clone(),
            replica,
        })
    }

    /// Appends it, and returns once every in-sync replica has it, with where the log begins; an error is what a client
    /// would be told.
    pub(crate) async fn append(
        self,
        timeout: Duration,
    ) -> Result<(Appended, Offset), (KafkaError, String)> {
        let append = self
            .replica
            .append(self.batch, self.sequences, Acks::All, timeout);
        let appended = append.await.map_err(|error| {
            let Refusal { error, message } = error.into();
            (error, message)
        })?;
        Ok((appended, self.replica.log().log_start()))
    }
}

/// The sequences of a transform's batch, which do not count its records.
pub(super) fn output_sequences(batch: &[u8], output: OutputTag) -> Option<ProducerSequences> {
    Some(ProducerSequences {
        first_sequence: output.first_sequence,
        follows: output.follows,
        ..sequences_of(Batch::parse(batch).ok()?)?
    })
}
