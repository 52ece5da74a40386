//! The task that gives leadership back to the preferred replicas, so that an SPU that was away
//! carries its share again.
//!
//! It looks at intervals. A preferred replica gets its leadership back once it could have had it at
//! two looks in a row, so that one that comes and goes is left alone, and a bounded number do at each
//! look, so that clients don't all have to find other leaders at once. Its end stops nothing else.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use thalweg_metadata::StoreError;
use thalweg_runtime::TaskGroup;
use thalweg_types::TopicPartition;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};

use super::leaders::Election;
use super::plan::fitness;
use super::{Changing, Controller};
use crate::election::prefer;

/// How many leaderships move at one look.
const MOVED_AT_ONCE_MAX: usize = 100;

/// What could have moved at the last look.
#[derive(Debug, Default)]
struct Imbalance {
    seen: BTreeSet<TopicPartition>,
}

impl Imbalance {
    /// Of those whose leadership could move now, those that it should move of.
    fn due(&mut self, movable: BTreeSet<TopicPartition>) -> Vec<TopicPartition> {
        let again = movable.intersection(&self.seen).cloned();
        let due = again.take(MOVED_AT_ONCE_MAX).collect();
        self.seen = movable;
        due
    }
}

/// Starts the balancer, which looks every `pause`.
pub(crate) fn spawn_leader_balancer(
    controller: Arc<Controller>,
    pause: Duration,
    tasks: &TaskGroup,
) {
    tasks.spawn("leader-balancer", |shutdown| async move {
        let mut looks = interval(pause);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut imbalance = Imbalance::default();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return Ok::<_, Infallible>(()),
                _ = looks.tick() => {}
            }
            let changing = controller.change().await;
            if let Err(error) = balance(&changing, &mut imbalance).await {
                warn!(%error, "failed to give leadership back to preferred replicas, trying again later");
            }
        }
    });
}

async fn balance(changing: &Changing<'_>, imbalance: &mut Imbalance) -> Result<(), StoreError> {
    let observed = changing.observe().await?;
    let movable = observed.partitions.iter().filter(|(_, partition)| {
        // A partition without a leader gets one by reconciling, and one that moves is about to change.
        partition.status.leader.is_some()
            && partition.spec.moving.is_none()
            && prefer(partition, |spu| {
                fitness(&observed, &changing.told.unfit, spu, partition.id)
            })
            .is_ok()
    });
    let due = imbalance.due(movable.map(|(name, _)| name.clone()).collect());
    if due.is_empty() {
        return Ok(());
    }
    debug!(
        partitions = due.len(),
        "giving leadership back to preferred replicas"
    );
    changing.elect_leaders(&due, Election::Preferred).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use thalweg_types::PartitionIndex;

    use super::*;

    fn partitions(numbers: std::ops::Range<i32>) -> BTreeSet<TopicPartition> {
        numbers
            .map(|number| TopicPartition {
                topic: "t".parse().unwrap(),
                partition: PartitionIndex(number),
            })
            .collect()
    }

    #[test]
    fn what_could_move_twice_in_a_row_moves() {
        let mut imbalance = Imbalance::default();

        assert!(imbalance.due(partitions(0..2)).is_empty());
        assert_eq!(imbalance.due(partitions(1..3)).len(), 1);
        assert!(imbalance.due(partitions(0..0)).is_empty());
        assert!(
            imbalance.due(partitions(0..3)).is_empty(),
            "it came and went"
        );
    }

    #[test]
    fn a_bounded_number_moves_at_a_time() {
        let mut imbalance = Imbalance::default();
        let many = partitions(0..1000);
        imbalance.due(many.clone());

        assert_eq!(imbalance.due(many).len(), MOVED_AT_ONCE_MAX);
    }
}
