//! How this SPU fares, for who starts and stops it: kubelet asks by `GET /startupz`, `/livez`, `/readyz`.
//!
//! An SPU is ready when it serves all that is assigned to it, and each copy that it keeps is in sync:
//! whoever stops SPUs one after the other may then go on with the next. Without an SC what it last said
//! holds. Clients find SPUs by what the SC says, ready or not.

use std::fmt;
use std::sync::{Arc, RwLock};

use thalweg_types::{PartitionId, SpuId, TopicPartition};

use crate::cluster_view::{ClusterView, PartitionView, View};
use crate::replica::{Held, ReplicaSet};

/// So many reasons are given at a time; of more, how many.
const REASONS_MAX: usize = 10;

/// How far this SPU has come.
#[derive(Default)]
pub(crate) struct Health {
    stage: RwLock<Stage>,
}

#[derive(Default)]
enum Stage {
    #[default]
    Starting,
    /// For what it is not up to this SPU to bring.
    Waiting(String),
    Serving(Serving),
    Stopping,
}

struct Serving {
    spu: SpuId,
    view: Arc<ClusterView>,
    replicas: Arc<ReplicaSet>,
}

/// Why an SPU is not ready, most of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons {
    first: Vec<String>,
    more_count: usize,
}

impl Health {
    pub(crate) fn waits_for(&self, what: String) {
        self.enter(Stage::Waiting(what));
    }

    pub(crate) fn serves(&self, spu: SpuId, view: Arc<ClusterView>, replicas: Arc<ReplicaSet>) {
        self.enter(Stage::Serving(Serving {
            spu,
            view,
            replicas,
        }));
    }

    pub(crate) fn stops(&self) {
        self.enter(Stage::Stopping);
    }

    /// What keeps this SPU from being ready.
    pub(crate) fn reasons(&self) -> Reasons {
        let stage = self.stage.read();
        let mut reasons = Reasons::default();
        match &*stage.expect("nobody panics while holding the stage") {
            Stage::Starting => reasons.add(|| "it is starting".to_owned()),
            Stage::Waiting(what) => reasons.add(|| what.clone()),
            Stage::Stopping => reasons.add(|| "it is shutting down".to_owned()),
            Stage::Serving(Serving {
                spu,
                view,
                replicas,
            }) => return reasons_of(&view.current(), *spu, |id| replicas.held(id)),
        }
        reasons
    }

    fn enter(&self, stage: Stage) {
        let now = self.stage.write();
        *now.expect("nobody panics while holding the stage") = stage;
    }
}

/// What keeps `spu` from being ready, of which `held` says how it holds a partition.
fn reasons_of(view: &View, spu: SpuId, held: impl Fn(PartitionId) -> Held) -> Reasons {
    let mut reasons = Reasons::default();
    if !view.is_an_scs_word() {
        reasons.add(|| "no SC has said yet what it is to hold".to_owned());
    }
    for topic in view.topics.values() {
        let assigned = topic.partitions.iter();
        for (index, partition) in assigned.filter(|(_, known)| known.replicas.contains(&spu)) {
            let held = held(PartitionId {
                topic: topic.id,
                partition: *index,
            });
            if let Some(reason) = reason_of(partition, spu, held) {
                reasons.add(|| {
                    let topic = topic.name.clone();
                    let partition = *index;
                    format!("{}: {reason}", TopicPartition { topic, partition })
                });
            }
        }
    }
    reasons
}

/// What `spu` lacks with a partition that is assigned to it.
fn reason_of(partition: &PartitionView, spu: SpuId, held: Held) -> Option<String> {
    match (held, partition.leader) {
        (Held::Failed { reason }, _) => Some(format!("its copy failed: {reason}")),
        (_, None) => Some("it has no leader".to_owned()),
        (
            Held::Leads {
                trouble: Some(reason),
            },
            Some(leader),
        ) if leader == spu => Some(format!("it is not served: {reason}")),
        (Held::Leads { trouble: None }, Some(leader)) if leader == spu => None,
        (_, Some(leader)) if leader == spu => Some("it is not served yet".to_owned()),
        (Held::Opening | Held::Leads { .. }, _) => Some("its copy is being opened".to_owned()),
        (Held::Follows, Some(leader)) if !partition.isr.contains(&spu) => Some(format!(
            "its copy is not in sync with its leader, SPU {leader}"
        )),
        (Held::Follows, _) => None,
    }
}

impl Reasons {
    fn add(&mut self, reason: impl FnOnce() -> String) {
        if self.first.len() < REASONS_MAX {
            self.first.push(reason());
        } else {
            self.more_count += 1;
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_empty()
    }
}

/// A line each.
impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for reason in &self.first {
            writeln!(f, "{reason}")?;
        }
        match self.more_count {
            0 => Ok(()),
            count => writeln!(f, "and {count} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use thalweg_types::{
        ChainSpec, LeaderEpoch, PartitionEpoch, PartitionIndex, TopicConfig, TopicId,
    };
    use uuid::Uuid;

    use super::*;

    const ME: SpuId = SpuId(0);

    /// A topic of one partition for each leader and ISR, whose replicas are SPUs 0 and 1.
    fn view(partitions: &[(Option<i32>, &[i32])]) -> View {
        let mut view = View {
            internal_client_id: Some("sc".into()),
            ..View::default()
        };
        let id = TopicId(Uuid::from_u128(1));
        let name = "t".parse().unwrap();
        view.upsert_topic(name, id, TopicConfig::default(), ChainSpec::default(), 1);
        for (index, (leader, isr)) in (0..).zip(partitions) {
            let partition = PartitionView {
                leader: leader.map(SpuId),
                leader_epoch: LeaderEpoch(1),
                partition_epoch: PartitionEpoch(1),
                replicas: vec![SpuId(0), SpuId(1)],
                isr: isr.iter().copied().map(SpuId).collect(),
            };
            assert!(view.upsert_partition(id, PartitionIndex(index), partition));
        }
        view
    }

    fn said(view: &View, held: Held) -> String {
        reasons_of(view, ME, |_| held.clone()).to_string()
    }

    const LEADS: Held = Held::Leads { trouble: None };

    #[test]
    fn it_is_ready_when_it_leads_and_follows_all_that_is_assigned_to_it() {
        assert_eq!(said(&view(&[(Some(0), &[0])]), LEADS), "");
        assert_eq!(said(&view(&[(Some(1), &[0, 1])]), Held::Follows), "");
        assert_eq!(said(&view(&[]), Held::Opening), "");
    }

    #[test]
    fn what_others_hold_is_nothing_to_it() {
        let reasons = reasons_of(&view(&[(None, &[])]), SpuId(7), |_| Held::Opening);

        assert!(reasons.is_empty(), "{reasons}");
    }

    #[test]
    fn each_reason_says_which_partition_and_what_it_lacks() {
        let reason = "the disk is full".to_owned();
        let full = Held::Leads {
            trouble: Some(reason.clone()),
        };
        let led = view(&[(Some(0), &[0, 1])]);
        let followed = view(&[(Some(1), &[1])]);

        assert_eq!(
            said(&followed, Held::Follows),
            "t-0: its copy is not in sync with its leader, SPU 1\n"
        );
        assert_eq!(
            said(&followed, Held::Opening),
            "t-0: its copy is being opened\n"
        );
        assert_eq!(said(&followed, LEADS), "t-0: its copy is being opened\n");
        assert_eq!(said(&led, Held::Opening), "t-0: it is not served yet\n");
        assert_eq!(said(&led, Held::Follows), "t-0: it is not served yet\n");
        assert_eq!(
            said(&led, full),
            "t-0: it is not served: the disk is full\n"
        );
        assert_eq!(
            said(&led, Held::Failed { reason }),
            "t-0: its copy failed: the disk is full\n"
        );
        assert_eq!(
            said(&view(&[(None, &[0])]), Held::Follows),
            "t-0: it has no leader\n"
        );
    }

    #[test]
    fn the_word_of_a_former_life_is_not_enough() {
        let mut view = view(&[(Some(0), &[0])]);
        view.internal_client_id = None;

        assert_eq!(
            said(&view, LEADS),
            "no SC has said yet what it is to hold\n"
        );
    }

    #[test]
    fn of_many_reasons_the_first_are_given_and_the_others_counted() {
        let many = vec![(None, &[][..]); REASONS_MAX + 3];

        let said = said(&view(&many), Held::Follows);

        assert_eq!(said.lines().count(), REASONS_MAX + 1);
        assert!(said.ends_with("and 3 more\n"), "{said}");
    }

    #[test]
    fn it_says_what_it_waits_for_and_that_it_stops() {
        let health = Health::default();
        assert_eq!(health.reasons().to_string(), "it is starting\n");

        health.waits_for("waiting for the SC at `sc:9003`".to_owned());
        assert_eq!(
            health.reasons().to_string(),
            "waiting for the SC at `sc:9003`\n"
        );

        health.stops();
        assert_eq!(health.reasons().to_string(), "it is shutting down\n");
    }
}
