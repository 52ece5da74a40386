//! The chains that topics have: what every producer's batches go through before they are appended.
//!
//! One for each partition, shared by all connections. Whoever wants to append takes a [`Turn`], in
//! the order of coming, and keeps it until the log has the batch, so that batches enter the log in
//! the order in which the chain saw them. A chain is opened when its first batch comes, and anew
//! when the topic's spec, or the version that one of its names stands for, has changed, or after a
//! failure.

mod partition_chain;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use thalweg_types::PartitionId;
use tokio::sync::OwnedMutexGuard;

use self::partition_chain::PartitionChain;
pub(super) use self::partition_chain::Passed;
use super::connection::Shared;
use crate::cluster_view::{TopicView, View};
use crate::replica::Replica;

/// The chains of the partitions that this SPU leads.
#[derive(Default)]
pub(super) struct TopicChains {
    by_partition: Mutex<ByPartition>,
}

/// Fair: who waits for a chain gets it in the order of coming.
type ByPartition = HashMap<PartitionId, Arc<tokio::sync::Mutex<PartitionChain>>>;

/// The right to append to a partition whose topic has a chain.
pub(super) struct Turn {
    chain: OwnedMutexGuard<PartitionChain>,
    topic: Arc<TopicView>,
}

impl TopicChains {
    /// Waits for a turn at the partition of `replica`; `None` at once where its topic has no chain.
    pub(super) async fn turn(&self, shared: &Shared, replica: &Replica) -> Option<Turn> {
        let view = shared.context.view.current();
        let topic = view.topic(&replica.topic_partition().topic)?;
        if topic.produce_chain.is_empty() {
            return None;
        }
        let chain = self.of(&view, replica.id());
        Some(Turn {
            chain: chain.lock_owned().await,
            topic: Arc::clone(topic),
        })
    }

    fn of(&self, view: &View, partition: PartitionId) -> Arc<tokio::sync::Mutex<PartitionChain>> {
        let mut chains = self.lock();
        if let Some(chain) = chains.get(&partition) {
            return Arc::clone(chain);
        }
        // Few come, and with them those go whose topics are gone or have no chain any more.
        chains.retain(|known, _| {
            let topic = view.topic_by_id(known.topic);
            topic.is_some_and(|topic| !topic.produce_chain.is_empty())
        });
        Arc::clone(chains.entry(partition).or_default())
    }

    fn lock(&self) -> MutexGuard<'_, ByPartition> {
        self.by_partition
            .lock()
            .expect("nobody panics while holding the chains")
    }
}
