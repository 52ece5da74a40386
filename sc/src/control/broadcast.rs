//! What one SPU has yet to be told. Pure.
//!
//! Changes are coalesced by resource: however slowly the SPU reads, no more waits for it than there
//! are resources, and it is told their latest state. The first message is a snapshot, all others
//! are deltas.

use std::collections::BTreeMap;

use thalweg_metadata::WatchEvent;
use thalweg_proto::v1::{ClusterDelta, ClusterSnapshot, ScMessage, sc_message};
use thalweg_types::ControllerEpoch;
use thalweg_types::resource::{Resource, ResourceKey, ResourceVersion};

/// The most resources in one delta, so that a message stays far below gRPC's limit of 4 MiB.
const DELTA_MAX: usize = 4096;

/// What one SPU knows, and what it should know.
#[derive(Debug)]
pub(super) struct Broadcast {
    epoch: ControllerEpoch,
    told: BTreeMap<ResourceKey, ResourceVersion>,
    /// `None` for what is gone. Ordered by key: topics come before their partitions.
    untold: BTreeMap<ResourceKey, Option<Resource>>,
    snapshot: Snapshot,
}

#[derive(Debug, PartialEq, Eq)]
enum Snapshot {
    /// The store has yet to say what there is.
    Unknown,
    Untold,
    Told,
}

impl Broadcast {
    /// For an SPU that knows nothing.
    pub(super) fn new(epoch: ControllerEpoch) -> Self {
        Self {
            epoch,
            told: BTreeMap::new(),
            untold: BTreeMap::new(),
            snapshot: Snapshot::Unknown,
        }
    }

    /// Takes note of a change.
    pub(super) fn on_change(&mut self, change: WatchEvent) {
        match change {
            WatchEvent::Snapshot(all) => {
                let gone = self.told.keys().map(|key| (key.clone(), None));
                self.untold = gone.collect();
                for resource in all {
                    self.on_upserted(resource);
                }
                if self.snapshot == Snapshot::Unknown {
                    self.snapshot = Snapshot::Untold;
                }
            }
            WatchEvent::Upserted(resource) => self.on_upserted(resource),
            WatchEvent::Deleted(key) => {
                if self.told.contains_key(&key) {
                    self.untold.insert(key, None);
                } else {
                    self.untold.remove(&key);
                }
            }
        }
    }

    fn on_upserted(&mut self, resource: Resource) {
        let key = resource.key();
        let resource = as_told(resource);
        if self.told.get(&key) == Some(&resource.version()) {
            self.untold.remove(&key);
        } else {
            self.untold.insert(key, Some(resource));
        }
    }

    /// Whether there is something to tell.
    pub(super) fn is_behind(&self) -> bool {
        match self.snapshot {
            Snapshot::Unknown => false,
            Snapshot::Untold => true,
            Snapshot::Told => !self.untold.is_empty(),
        }
    }

    /// The next message: the snapshot once, then deltas.
    pub(super) fn next_message(&mut self) -> ScMessage {
        let message = if self.snapshot == Snapshot::Told {
            sc_message::Message::Delta(self.next_delta())
        } else {
            self.snapshot = Snapshot::Told;
            sc_message::Message::Snapshot(self.all())
        };
        ScMessage {
            message: Some(message),
        }
    }

    fn all(&mut self) -> ClusterSnapshot {
        let mut snapshot = ClusterSnapshot {
            controller_epoch: self.epoch.0,
            ..ClusterSnapshot::default()
        };
        for (key, resource) in std::mem::take(&mut self.untold) {
            let Some(resource) = resource else { continue };
            self.told.insert(key, resource.version());
            match resource {
                Resource::Topic(topic) => snapshot.topics.push(topic.into()),
                Resource::Partition(partition) => snapshot.partitions.push(partition.into()),
                Resource::Spu(spu) => snapshot.spus.push(spu.into()),
                Resource::SmartModule(module) => snapshot.smart_modules.push(module.into()),
                Resource::Transform(transform) => snapshot.transforms.push((*transform).into()),
            }
        }
        snapshot
    }

    fn next_delta(&mut self) -> ClusterDelta {
        let mut delta = ClusterDelta {
            controller_epoch: self.epoch.0,
            ..ClusterDelta::default()
        };
        for _ in 0..DELTA_MAX {
            match self.untold.pop_first() {
                None => break,
                Some((key, Some(resource))) => {
                    self.told.insert(key, resource.version());
                    delta.upserted.push(resource.into());
                }
                Some((key, None)) => {
                    self.told.remove(&key);
                    delta.deleted.push(key.into());
                }
            }
        }
        delta
    }
}

/// What SPUs are told of a resource: not what is for people only, and can be long.
fn as_told(mut resource: Resource) -> Resource {
    match &mut resource {
        Resource::SmartModule(module) => {
            for revision in &mut module.spec.revisions {
                revision.description.clear();
                revision.params.clear();
            }
        }
        Resource::Transform(transform) => transform.status.history.clear(),
        Resource::Topic(_) | Resource::Partition(_) | Resource::Spu(_) => {}
    }
    resource
}

#[cfg(test)]
mod tests {
    use thalweg_types::resource::{Spu, SpuSpec, SpuState, SpuStatus};
    use thalweg_types::{DirectoryId, Incarnation, SpuId};
    use uuid::Uuid;

    use super::*;

    fn spu(id: i32, version: u64) -> Resource {
        Resource::Spu(Spu {
            id: SpuId(id),
            spec: SpuSpec::default(),
            status: SpuStatus {
                state: SpuState::Online,
                data_address: "127.0.0.1:9092".to_owned(),
                incarnation: Incarnation(1),
                directory_id: DirectoryId(Uuid::from_u128(1)),
                software_version: String::new(),
            },
            version: ResourceVersion(version),
        })
    }

    fn delta(broadcast: &mut Broadcast) -> (Vec<u64>, usize) {
        match broadcast.next_message().message {
            Some(sc_message::Message::Delta(delta)) => {
                let versions = delta
                    .upserted
                    .into_iter()
                    .map(|row| Resource::try_from(row).unwrap().version().0);
                (versions.collect(), delta.deleted.len())
            }
            other => panic!("{other:?} is no delta"),
        }
    }

    fn told(all: Vec<Resource>) -> Broadcast {
        let mut broadcast = Broadcast::new(ControllerEpoch(4));
        broadcast.on_change(WatchEvent::Snapshot(all));
        broadcast.next_message();
        broadcast
    }

    #[test]
    fn the_first_message_is_a_snapshot_of_all_that_is_known_by_then() {
        let mut broadcast = Broadcast::new(ControllerEpoch(4));
        assert!(!broadcast.is_behind(), "nothing is known yet");
        broadcast.on_change(WatchEvent::Snapshot(vec![spu(0, 1), spu(1, 2)]));
        broadcast.on_change(WatchEvent::Upserted(spu(2, 3)));
        broadcast.on_change(WatchEvent::Deleted(spu(0, 1).key()));

        let message = broadcast.next_message().message;

        let Some(sc_message::Message::Snapshot(snapshot)) = message else {
            panic!("{message:?} is no snapshot");
        };
        assert_eq!(snapshot.controller_epoch, 4);
        let ids: Vec<_> = snapshot.spus.iter().map(|spu| spu.id).collect();
        assert_eq!(ids, [1, 2]);
        assert!(!broadcast.is_behind());
    }

    #[test]
    fn an_empty_cluster_is_told_too() {
        let mut broadcast = Broadcast::new(ControllerEpoch(4));
        broadcast.on_change(WatchEvent::Snapshot(Vec::new()));

        assert!(broadcast.is_behind());
    }

    #[test]
    fn changes_of_one_resource_are_told_once() {
        let mut broadcast = told(vec![spu(0, 1)]);

        for version in 2..100 {
            broadcast.on_change(WatchEvent::Upserted(spu(0, version)));
        }

        assert_eq!(delta(&mut broadcast), (vec![99], 0));
        assert!(!broadcast.is_behind());
    }

    #[test]
    fn what_came_and_went_unseen_is_not_told() {
        let mut broadcast = told(Vec::new());

        broadcast.on_change(WatchEvent::Upserted(spu(0, 1)));
        broadcast.on_change(WatchEvent::Deleted(spu(0, 1).key()));

        assert!(!broadcast.is_behind());
    }

    #[test]
    fn a_second_snapshot_becomes_the_difference_to_what_was_told() {
        let mut broadcast = told(vec![spu(0, 1), spu(1, 2), spu(2, 3)]);
        broadcast.on_change(WatchEvent::Upserted(spu(3, 4)));

        broadcast.on_change(WatchEvent::Snapshot(vec![spu(1, 2), spu(2, 9)]));

        assert_eq!(delta(&mut broadcast), (vec![9], 1));
        assert!(!broadcast.is_behind());
    }

    #[test]
    fn many_changes_are_told_in_several_messages() {
        let mut broadcast = told(Vec::new());
        let count = i32::try_from(DELTA_MAX).unwrap() + 1;
        for id in 0..count {
            broadcast.on_change(WatchEvent::Upserted(spu(id, 1)));
        }

        assert_eq!(delta(&mut broadcast).0.len(), DELTA_MAX);
        assert_eq!(delta(&mut broadcast).0.len(), 1);
        assert!(!broadcast.is_behind());
    }
}
