//! What happens to a batch before the log: it is checked, goes through the producer's own chain and
//! then the topic's, and is brought into the form in which it is kept.

use std::sync::Arc;

use bytes::Bytes;
use thalweg_record::{Batch, ProgressMarker};
use thalweg_storage::Appended;
use thalweg_types::{PartitionIndex, ProducerId, TopicName};
use thalweg_wire::messages::produce_request::PartitionProduceData;
use thalweg_wire::tags;
use thalweg_wire::{KafkaError, RequestHeader, SMALL_FRAME_BYTES, StreamPurpose};

use super::output::output_sequences;
use super::prepared::{Content, OwnChain, Prepared};
use super::{NotProduced, Told, check, encoding};
use crate::data::connection::Shared;
use crate::data::internal_topics;
use crate::data::refusal::Refusal;
use crate::data::router::Router;
use crate::data::streams::{Opening, Restored, Stream, Transformed, add_counts, sequences_of};
use crate::data::topic_chains::{Passed, Turn};
use crate::replica::{Acks, Replica};

/// Finds the leader, checks the batch, and brings it into the form in which it is kept.
pub(super) async fn prepare(
    router: &Router,
    header: &RequestHeader,
    topic: &TopicName,
    acks: &Acks,
    data: PartitionProduceData,
) -> Result<Prepared, NotProduced> {
    let shared = &router.shared;
    internal_topics::check_produce(shared, header, topic, producer_of(&data))?;
    let partition = PartitionIndex(data.index);
    let replica = shared
        .context
        .replicas
        .leader(topic, partition, None)
        .map_err(Refusal::from)?;
    let config = replica.config();
    let records = data.records.unwrap_or_default();
    let output = tags::output(&data.unknown_tagged_fields);
    check::shallow(&records, &config, header.api_version, output.is_some())?;
    let sent_bytes = records.len();
    let mut sequences = output.and_then(|output| output_sequences(&records, output));
    let mut batches = records;
    let mut told = Told::default();
    let mut own = None;
    if let Some(stream) = tags::stream_id(&data.unknown_tagged_fields) {
        let stream = router.streams.get(stream, StreamPurpose::Produce)?;
        if stream.has_aggregate() && *acks == Acks::None {
            let message =
                "an aggregate's accumulators come with acknowledgements: produce with acks 1 or -1";
            return Err(Refusal::new(KafkaError::InvalidRequiredAcks, message).into());
        }
        let restored = Restored::of_fields(&data.unknown_tagged_fields)?;
        let stored = stored_before(&replica, &batches);
        // A batch that the log has is not run again: its dead letters would be written twice. An
        // aggregate must go on from it all the same.
        if let Some(stored) = stored
            && !stream.has_aggregate()
        {
            return Ok(Prepared::stored(replica, stored, true));
        }
        let chain = OwnChain {
            stream,
            key: (topic.clone(), partition),
        };
        let transformed = chain
            .pass(shared, &replica, restored, batches, &mut told)
            .await?;
        if let Some(stored) = stored {
            return Ok(Prepared {
                told,
                own: Some(chain),
                ..Prepared::stored(replica, stored, true)
            });
        }
        (batches, sequences) = (transformed.batches, transformed.sequences);
        own = Some(chain);
    }
    let mut tells_offsets = true;
    let mut turn = turn_for(shared, &replica, &batches).await;
    if let Some(turn) = &mut turn {
        match turn.pass(shared, &replica, batches, sequences).await? {
            Passed::Stored(stored) => {
                return Ok(Prepared {
                    told,
                    own,
                    ..Prepared::stored(replica, stored, false)
                });
            }
            Passed::Transformed(passed) => {
                (batches, sequences) = (passed.batches, passed.sequences);
                add_counts(&mut told.failed, passed.failed);
                tells_offsets = passed.is_one_to_one;
            }
        }
    }
    let batches = encoding::as_kept(shared, batches, &config).await?;
    let streams = [
        own.as_ref().map(|own| &*own.stream),
        turn.as_ref().and_then(Turn::stream),
    ];
    let modules: Vec<_> = streams
        .into_iter()
        .flatten()
        .flat_map(Stream::step_names)
        .collect();
    if !modules.is_empty() {
        check::grown(&batches, &config, sent_bytes, &modules)?;
    }
    Ok(Prepared {
        replica,
        content: Content::Batches {
            batches,
            sequences,
            tells_offsets,
        },
        told,
        own,
        turn,
    })
}

impl OwnChain {
    /// Puts a batch through, and waits for its dead letters.
    async fn pass(
        &self,
        shared: &Shared,
        replica: &Replica,
        restored: Restored,
        batch: Bytes,
        told: &mut Told,
    ) -> Result<Transformed, NotProduced> {
        let opening = Opening {
            log: Arc::clone(replica.log()),
            restored,
        };
        self.stream.ready(shared, &self.key, opening).await?;
        let room = shared.streamed.reserve(batch.len()).await;
        let mut transformed = self.stream.transform(self.key.clone(), batch).await?;
        drop(room);
        told.failed = transformed.deliver(&shared.dead_letters).await?;
        told.accumulated = std::mem::take(&mut transformed.accumulated);
        let accumulated_bytes = told.accumulated.size_bytes();
        if accumulated_bytes > SMALL_FRAME_BYTES {
            told.room = Some(shared.answers.reserve(accumulated_bytes).await);
        }
        Ok(transformed)
    }
}

fn producer_of(data: &PartitionProduceData) -> ProducerId {
    let batch = data.records.as_deref().map(Batch::parse);
    match batch {
        Some(Ok(batch)) => batch.header().producer_id,
        _ => ProducerId::NONE,
    }
}

/// A turn at the topic's chain, where it has one and the batch has something that a chain could change.
async fn turn_for(shared: &Shared, replica: &Replica, produced: &[u8]) -> Option<Turn> {
    let batch = Batch::parse(produced);
    if batch.is_ok_and(|batch| ProgressMarker::of(batch.header()).is_some()) {
        return None;
    }
    shared.topic_chains.turn(shared, replica).await
}

/// Where the log has the batch of an idempotent producer, if it does.
fn stored_before(replica: &Replica, produced: &[u8]) -> Option<Appended> {
    let sequences = sequences_of(Batch::parse(produced).ok()?)?;
    replica.log().stored_before(&sequences)
}

impl Prepared {
    fn stored(replica: Arc<Replica>, stored: Appended, tells_offsets: bool) -> Self {
        Self {
            replica,
            content: Content::Stored {
                stored,
                tells_offsets,
            },
            told: Told::default(),
            own: None,
            turn: None,
        }
    }
}
