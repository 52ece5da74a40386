//! The cluster as the SC last told it: who is up, which topics there are, who leads what.
//!
//! The control client writes it; the data protocol answers Metadata from it, and the replica set
//! follows it. A [`View`] never changes once it is published: readers hold it by `Arc`.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thalweg_types::resource::{
    SmartModuleSpec, Transform, TransformNumber, TransformSpec, TransformState,
};
use thalweg_types::{
    ChainSpec, ClusterId, ControllerEpoch, LeaderEpoch, PartitionEpoch, PartitionIndex,
    ResourceName, SpuId, TopicConfig, TopicId, TopicName,
};
use tokio::sync::watch;

/// One state of the cluster.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct View {
    /// The cluster; absent before the first word from an SC.
    pub cluster_id: Option<ClusterId>,
    /// The reign of the SC that told it.
    pub controller_epoch: ControllerEpoch,
    /// Every SPU there is, also those that are down.
    pub spus: BTreeMap<SpuId, SpuView>,
    /// Every topic there is.
    pub topics: BTreeMap<TopicName, Arc<TopicView>>,
    /// The names of the topics by their ids.
    pub topic_names: BTreeMap<TopicId, TopicName>,
    /// The registered SmartModules, without what is for people only.
    pub smart_modules: BTreeMap<ResourceName, Arc<SmartModuleSpec>>,
    /// Every transform there is.
    pub transforms: BTreeMap<ResourceName, Arc<TransformView>>,
    /// Who may produce to internal topics; absent before the first word from an SC in this life.
    pub internal_client_id: Option<Arc<str>>,
}

/// One SPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpuView {
    /// Its number.
    pub id: SpuId,
    /// The host of its data port, as clients reach it.
    pub host: String,
    /// Its data port.
    pub port: u16,
    /// Where it stands; empty where unknown.
    pub rack: String,
    /// Whether the SC counts it as up.
    pub online: bool,
}

/// One topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicView {
    /// Its name.
    pub name: TopicName,
    /// Its id.
    pub id: TopicId,
    /// Its settings.
    pub config: TopicConfig,
    /// What every producer's records go through; empty for nothing.
    #[serde(default)]
    pub produce_chain: ChainSpec,
    /// How many partitions it is to have, also while not all of them are placed; 0 where an older
    /// version of this SPU kept the view.
    #[serde(default)]
    pub partition_count: i32,
    /// Its partitions that are placed.
    pub partitions: BTreeMap<PartitionIndex, PartitionView>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionView {
    /// Who leads; absent while nobody may.
    pub leader: Option<SpuId>,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// The version of leader and ISR.
    pub partition_epoch: PartitionEpoch,
    /// Who should hold it; the first is the preferred leader.
    pub replicas: Vec<SpuId>,
    /// The in-sync replicas.
    pub isr: Vec<SpuId>,
}

/// One transform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformView {
    /// Its name.
    pub name: ResourceName,
    /// What its outputs know it by.
    pub number: TransformNumber,
    /// What the outputs of its backfill know that by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backfill_number: Option<TransformNumber>,
    /// What the user wants.
    pub spec: TransformSpec,
    /// Whether it can run.
    pub state: TransformState,
}

impl From<Transform> for TransformView {
    fn from(transform: Transform) -> Self {
        Self {
            name: transform.name,
            number: transform.number,
            backfill_number: transform.backfill_number,
            spec: transform.spec,
            state: transform.status.state,
        }
    }
}

impl TransformView {
    /// Its backfill, as the transform that it is beside this one; absent where it has none.
    #[must_use]
    pub fn backfilling(&self) -> Option<Self> {
        Some(Self {
            number: self.backfill_number?,
            backfill_number: None,
            spec: self.spec.switched()?,
            ..self.clone()
        })
    }
}

impl View {
    /// The topic of this name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<&Arc<TopicView>> {
        self.topics.get(name)
    }

    /// The topic with this id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<TopicView>> {
        self.topic_names
            .get(&id)
            .and_then(|name| self.topics.get(name))
    }

    /// Whether there is a topic of that name, and of that id where one is given.
    pub(crate) fn has_topic(&self, name: &TopicName, id: Option<TopicId>) -> bool {
        self.topic(name)
            .is_some_and(|topic| id.is_none_or(|id| id == topic.id))
    }

    /// Whether an SC has said so in this process's life: what the last run kept may be old.
    pub(crate) fn is_an_scs_word(&self) -> bool {
        self.internal_client_id.is_some()
    }

    /// One partition of a topic.
    #[must_use]
    pub fn partition(&self, name: &TopicName, index: PartitionIndex) -> Option<&PartitionView> {
        self.topics.get(name)?.partitions.get(&index)
    }

    /// The SPU that clients are told is the controller. Any forwards to the SC, so the lowest
    /// number that is up will do; absent when none is.
    #[must_use]
    pub fn controller(&self) -> Option<SpuId> {
        self.online_spus().map(|spu| spu.id).next()
    }

    /// The SPUs that are up, by their numbers.
    pub fn online_spus(&self) -> impl Iterator<Item = &SpuView> {
        self.spus.values().filter(|spu| spu.online)
    }

    /// Adds or replaces a topic; its partitions stay when it is the same topic.
    pub(crate) fn upsert_topic(
        &mut self,
        name: TopicName,
        id: TopicId,
        config: TopicConfig,
        produce_chain: ChainSpec,
        partition_count: i32,
    ) {
        let partitions = match self.topics.get(&name) {
            Some(known) if known.id == id => known.partitions.clone(),
            Some(_) => {
                self.remove_topic(&name);
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        self.topic_names.insert(id, name.clone());
        self.topics.insert(
            name.clone(),
            Arc::new(TopicView {
                name,
                id,
                config,
                produce_chain,
                partition_count,
                partitions,
            }),
        );
    }

    /// Adds or replaces a partition of a topic that is known; `false` when the topic is not.
    pub(crate) fn upsert_partition(
        &mut self,
        topic: TopicId,
        index: PartitionIndex,
        partition: PartitionView,
    ) -> bool {
        let Some(view) = self
            .topic_names
            .get(&topic)
            .and_then(|name| self.topics.get_mut(name))
        else {
            return false;
        };
        Arc::make_mut(view).partitions.insert(index, partition);
        true
    }

    /// Forgets a topic and its partitions.
    pub(crate) fn remove_topic(&mut self, name: &TopicName) {
        if let Some(removed) = self.topics.remove(name) {
            self.topic_names.remove(&removed.id);
        }
    }

    /// Forgets one partition.
    pub(crate) fn remove_partition(&mut self, topic: &TopicName, index: PartitionIndex) {
        if let Some(view) = self.topics.get_mut(topic) {
            Arc::make_mut(view).partitions.remove(&index);
        }
    }
}

/// The newest [`View`], and a way to wait for a newer one.
#[derive(Debug)]
pub struct ClusterView {
    newest: watch::Sender<Arc<View>>,
}

impl ClusterView {
    /// Starts with `view`.
    #[must_use]
    pub fn new(view: View) -> Self {
        Self {
            newest: watch::Sender::new(Arc::new(view)),
        }
    }

    /// The newest view.
    #[must_use]
    pub fn current(&self) -> Arc<View> {
        self.newest.borrow().clone()
    }

    /// Waits until a view fits `condition`, and returns it; the current one counts. Cancel-safe.
    pub async fn wait_for(&self, mut condition: impl FnMut(&View) -> bool) -> Arc<View> {
        let mut newest = self.newest.subscribe();
        let found = newest.wait_for(|view| condition(view)).await;
        // An error would mean that the sender is gone, and `self` holds it.
        found.map_or_else(|_| self.current(), |view| Arc::clone(&view))
    }

    /// Waits until the view is another than `seen`, and returns it. Cancel-safe.
    pub async fn changed_from(&self, seen: &Arc<View>) -> Arc<View> {
        let mut newest = self.newest.subscribe();
        let found = newest.wait_for(|view| !Arc::ptr_eq(view, seen)).await;
        // As above.
        found.map_or_else(|_| self.current(), |view| Arc::clone(&view))
    }

    /// Makes `view` the newest.
    pub fn publish(&self, view: View) -> Arc<View> {
        let view = Arc::new(view);
        self.newest.send_replace(Arc::clone(&view));
        view
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn partition() -> PartitionView {
        PartitionView {
            leader: Some(SpuId(0)),
            leader_epoch: LeaderEpoch(1),
            partition_epoch: PartitionEpoch(1),
            replicas: vec![SpuId(0)],
            isr: vec![SpuId(0)],
        }
    }

    #[test]
    fn a_recreated_topic_starts_without_the_old_ones_partitions() {
        let name = TopicName::new("orders").unwrap();
        let (old, new) = (TopicId(Uuid::from_u128(1)), TopicId(Uuid::from_u128(2)));
        let mut view = View::default();
        view.upsert_topic(
            name.clone(),
            old,
            TopicConfig::default(),
            ChainSpec::default(),
            1,
        );
        assert!(view.upsert_partition(old, PartitionIndex(0), partition()));

        view.upsert_topic(
            name.clone(),
            new,
            TopicConfig::default(),
            ChainSpec::default(),
            1,
        );

        assert!(view.topic(&name).unwrap().partitions.is_empty());
        assert!(view.topic_by_id(old).is_none());
        assert!(!view.upsert_partition(old, PartitionIndex(0), partition()));
    }

    #[test]
    fn changed_settings_leave_the_partitions_alone() {
        let name = TopicName::new("orders").unwrap();
        let id = TopicId(Uuid::from_u128(1));
        let mut view = View::default();
        view.upsert_topic(
            name.clone(),
            id,
            TopicConfig::default(),
            ChainSpec::default(),
            1,
        );
        view.upsert_partition(id, PartitionIndex(0), partition());
        let mut config = TopicConfig::default();
        config.set("durability", "memory").unwrap();

        view.upsert_topic(name.clone(), id, config.clone(), ChainSpec::default(), 1);

        assert_eq!(view.topic(&name).unwrap().config, config);
        assert!(view.partition(&name, PartitionIndex(0)).is_some());
    }

    #[tokio::test]
    async fn a_waiter_sees_a_view_that_was_published_before_it_waited() {
        let cluster = ClusterView::new(View::default());
        let seen = cluster.current();
        cluster.publish(View {
            controller_epoch: ControllerEpoch(7),
            ..View::default()
        });

        let changed = cluster.changed_from(&seen).await;

        assert_eq!(changed.controller_epoch, ControllerEpoch(7));
    }
}
