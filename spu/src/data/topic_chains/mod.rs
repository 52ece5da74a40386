//! The chains that topics have: what every producer's batches go through before they are appended.
//!
//! One for each partition, shared by all connections. Whoever wants to append takes a [`Turn`], in
//! the order of coming, and keeps it until the log has the batch, so that batches enter the log in
//! the order in which the chain saw them. A chain is opened when its first batch comes, and anew
//! when the topic's spec, or the version that one of its names stands for, has changed, or after a
//! failure.

mod dedup;
mod known;
mod partition_chain;
mod turn;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_storage::Log;
use thalweg_types::PartitionId;
use thalweg_wire::KafkaError;
use tokio::sync::Semaphore;

use self::partition_chain::PartitionChain;
pub(super) use self::turn::{Passed, Turn};
use super::connection::Shared;
use super::refusal::Refusal;
use super::streams::{PartitionKey, Restored, Restoring, Stream};
use crate::cluster_view::{TopicView, View};
use crate::replica::Replica;

/// How many partitions are gone over for accumulators at a time.
const RESTORATIONS_MAX: usize = 2;

/// The chains of the partitions that this SPU leads.
pub(super) struct TopicChains {
    by_partition: Mutex<ByPartition>,
    /// Turns at going over whole logs for the accumulators of their keys, which takes memory.
    restorations: Semaphore,
}

/// Fair: who waits for a chain gets it in the order of coming.
type ByPartition = HashMap<PartitionId, Arc<tokio::sync::Mutex<PartitionChain>>>;

impl Default for TopicChains {
    fn default() -> Self {
        Self {
            by_partition: Mutex::default(),
            restorations: Semaphore::new(RESTORATIONS_MAX),
        }
    }
}

impl TopicChains {
    /// Reads from `log` what the aggregate of `stream` has come to, on the guest threads as the
    /// stream's own work.
    async fn restore(
        &self,
        stream: &Stream,
        log: &Arc<Log>,
        mut restoring: Restoring,
    ) -> Result<Restored, Refusal> {
        let turn = self.restorations.acquire().await;
        let _turn = turn.expect("nobody closes this semaphore");
        loop {
            let log = Arc::clone(log);
            let advanced;
            (restoring, advanced) = stream
                .on_its_threads(move || {
                    let advanced = restoring.advance(&log);
                    (restoring, advanced)
                })
                .await?;
            if let Some(restored) = advanced? {
                return Ok(restored);
            }
        }
    }

    /// Waits for a turn at the partition of `replica`; `None` at once where its topic has no chain.
    pub(super) async fn turn(&self, shared: &Shared, replica: &Replica) -> Option<Turn> {
        let view = shared.context.view.current();
        let topic = view.topic(&replica.topic_partition().topic)?;
        if !changes_batches(topic) {
            return None;
        }
        let chain = self.of(&view, replica.id());
        Some(Turn::new(chain.lock_owned().await, Arc::clone(topic)))
    }

    fn of(&self, view: &View, partition: PartitionId) -> Arc<tokio::sync::Mutex<PartitionChain>> {
        let mut chains = self.lock();
        if let Some(chain) = chains.get(&partition) {
            return Arc::clone(chain);
        }
        // Few come, and with them those go whose topics are gone or have no chain any more.
        chains.retain(|known, _| {
            let topic = view.topic_by_id(known.topic);
            topic.is_some_and(|topic| changes_batches(topic))
        });
        Arc::clone(chains.entry(partition).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, ByPartition> {
        self.by_partition
            .lock()
            .expect("nobody panics while holding the chains")
    }
}

/// Whether what is appended to a topic may be something else than what is sent.
fn changes_batches(topic: &TopicView) -> bool {
    !topic.produce_chain.is_empty() || topic.config.dedup().is_some()
}

fn partition_key(replica: &Replica) -> PartitionKey {
    let partition = replica.topic_partition();
    (partition.topic.clone(), partition.partition)
}

fn shutting_down() -> Refusal {
    Refusal::new(KafkaError::NotLeaderOrFollower, "the SPU is shutting down")
}
