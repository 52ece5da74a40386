//! The end of this SPU's leaderships before it stops.
//!
//! The SPU says on its control stream that it is about to stop, again on each new stream, and goes on
//! serving until nobody counts on it any more: others lead what it led, and no ISR has it beside
//! others. It waits no longer than it was told to, and not at all without an SC.

use std::time::Duration;

use thalweg_types::SpuId;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::cluster_view::{ClusterView, View};

/// Whether this SPU is about to stop, and whether an SC hears it.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    stopping: watch::Sender<bool>,
    has_sc: watch::Sender<bool>,
}

impl Handover {
    /// Has the SC let others lead what `spu` leads, and waits until they do.
    pub(crate) async fn run(&self, view: &ClusterView, spu: SpuId, wait_max: Duration) {
        self.stopping.send_replace(true);
        let mut has_sc = self.has_sc.subscribe();
        let done = tokio::time::timeout(wait_max, async {
            tokio::select! {
                _view = view.wait_for(|view| !others_count_on(view, spu)) => "handed over",
                // The sender lives in `self`, so the only outcome is that the condition holds.
                _ = has_sc.wait_for(|has_sc| !has_sc) => "no SC to hand over with",
            }
        });
        match done.await {
            Ok(outcome) => info!(outcome, "leads nothing that another could"),
            Err(_elapsed) => {
                warn!(waited = ?wait_max, "stopping although others don't lead everything yet");
            }
        }
    }

    /// Notes whether an SC hears this SPU.
    pub(super) fn heard_by_sc(&self, heard: bool) {
        self.has_sc.send_replace(heard);
    }

    /// Waits until this SPU is about to stop. Cancel-safe.
    pub(super) async fn begun(&self) {
        // The sender lives in `self`, so the only outcome is that the condition holds.
        let _ = self
            .stopping
            .subscribe()
            .wait_for(|stopping| *stopping)
            .await;
    }
}

/// Whether another replica that is in sync could do what this SPU does.
fn others_count_on(view: &View, spu: SpuId) -> bool {
    let partitions = view
        .topics
        .values()
        .flat_map(|topic| topic.partitions.values());
    partitions
        .filter(|partition| partition.isr.contains(&spu))
        .any(|partition| partition.isr.len() > 1)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use thalweg_types::{
        ChainSpec, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicConfig, TopicId,
    };
    use uuid::Uuid;

    use super::*;
    use crate::cluster_view::PartitionView;

    const ME: SpuId = SpuId(0);
    const LONG: Duration = Duration::from_secs(60);

    fn view(isr: &[i32]) -> View {
        let mut view = View::default();
        let id = TopicId(Uuid::from_u128(1));
        let name = "t".parse().unwrap();
        view.upsert_topic(name, id, TopicConfig::default(), ChainSpec::default(), 1);
        let partition = PartitionView {
            leader: isr.first().copied().map(SpuId),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            replicas: vec![SpuId(0), SpuId(1)],
            isr: isr.iter().copied().map(SpuId).collect(),
        };
        assert!(view.upsert_partition(id, PartitionIndex(0), partition));
        view
    }

    #[test]
    fn others_count_on_a_replica_that_is_in_sync_beside_theirs() {
        assert!(others_count_on(&view(&[0, 1]), ME));
        assert!(others_count_on(&view(&[1, 0]), ME));
        assert!(!others_count_on(&view(&[1]), ME));
        assert!(!others_count_on(&view(&[0]), ME), "nobody else could lead");
    }

    #[tokio::test]
    async fn it_waits_until_another_leads() {
        let cluster = Arc::new(ClusterView::new(view(&[0, 1])));
        let handover = Handover::default();
        handover.heard_by_sc(true);

        let waiting = handover.run(&cluster, ME, LONG);
        let hands_over = async {
            handover.begun().await;
            cluster.publish(view(&[1]));
        };

        tokio::join!(waiting, hands_over);
    }

    #[tokio::test]
    async fn it_waits_for_no_sc_that_is_gone_and_no_longer_than_allowed() {
        let cluster = ClusterView::new(view(&[0, 1]));
        let handover = Handover::default();
        handover.run(&cluster, ME, LONG).await;

        handover.heard_by_sc(true);
        handover.run(&cluster, ME, Duration::from_millis(1)).await;
    }
}
