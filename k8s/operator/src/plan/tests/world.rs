//! A namespace that plans are carried out on.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use serde_json::{Value, json};
use thalweg_k8s_crd::{
    Cluster, ClusterSpec, Partition, PartitionSpec, PartitionStatus, Spu, SpuGroup, SpuGroupSpec,
    SpuSpec, SpuStatus,
};

use super::super::{OwnerKind, Plan, Step};
use crate::names;
use crate::objects::Kind;
use crate::observed::Observed;

pub(super) const NOW_MS: i64 = 1_800_000_000_000;

/// A namespace that plans are carried out on.
pub(super) struct World {
    pub(super) observed: Observed,
    pub(super) now_ms: i64,
    uids: u32,
    revisions: BTreeMap<String, (String, u32)>,
}

impl World {
    /// A Cluster `main`, and a group `main` of that many SPUs, not installed yet.
    pub(super) fn new(replicas: i32) -> Self {
        let mut world = Self::empty();
        world.add_cluster("main", 0);
        world.add_group("main", SpuGroupSpec::of(replicas), 1);
        world
    }

    pub(super) fn empty() -> Self {
        Self {
            observed: Observed {
                namespace: "prod".to_owned(),
                default_image: "thalweg:1".to_owned(),
                storage_classes: [("standard".to_owned(), true)].into(),
                ..Observed::default()
            },
            now_ms: NOW_MS,
            uids: 0,
            revisions: BTreeMap::new(),
        }
    }

    /// The same, installed and settled, with that many partitions of three replicas each.
    pub(super) fn settled(replicas: i32) -> Self {
        let mut world = Self::new(replicas);
        world.settle();
        for id in 0..replicas {
            world.register(id);
        }
        world.settle();
        world
    }

    pub(super) fn add_cluster(&mut self, name: &str, age_seconds: i64) {
        let mut cluster = Cluster::new(name, ClusterSpec::default());
        cluster.metadata = self.meta(name, age_seconds);
        self.observed.clusters.push(cluster);
    }

    pub(super) fn add_group(&mut self, name: &str, spec: SpuGroupSpec, age_seconds: i64) {
        let mut group = SpuGroup::new(name, spec);
        group.metadata = self.meta(name, age_seconds);
        self.observed.groups.push(group);
    }

    fn meta(&mut self, name: &str, age_seconds: i64) -> ObjectMeta {
        self.uids += 1;
        let created = Timestamp::from_second(1_700_000_000 + age_seconds).unwrap();
        ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some("prod".to_owned()),
            uid: Some(format!("uid-{}", self.uids)),
            resource_version: Some(self.uids.to_string()),
            generation: Some(1),
            creation_timestamp: Some(Time(created)),
            ..ObjectMeta::default()
        }
    }

    pub(super) fn register(&mut self, id: i32) {
        let mut spu = Spu::new(
            &format!("spu-{id}"),
            SpuSpec {
                id,
                ..SpuSpec::default()
            },
        );
        spu.metadata = self.meta(&format!("spu-{id}"), 100);
        spu.status = Some(SpuStatus {
            state: "Online".to_owned(),
            observed_generation: 1,
            ..SpuStatus::default()
        });
        self.observed.spus.push(spu);
    }

    pub(super) fn add_partition(&mut self, number: i32, replicas: &[i32]) {
        let spec = PartitionSpec {
            topic: "orders".to_owned(),
            partition: number,
            replicas: replicas.to_vec(),
            ..PartitionSpec::default()
        };
        let mut partition = Partition::new(&format!("orders-{number}"), spec);
        partition.status = Some(PartitionStatus {
            isr: replicas.to_vec(),
            ..PartitionStatus::default()
        });
        self.observed.partitions.push(Arc::new(partition));
    }

    pub(super) fn partition(&mut self, number: usize) -> &mut Partition {
        Arc::make_mut(&mut self.observed.partitions[number])
    }

    pub(super) fn group(&mut self) -> &mut SpuGroup {
        &mut self.observed.groups[0]
    }

    pub(super) fn cluster(&mut self) -> &mut Cluster {
        &mut self.observed.clusters[0]
    }

    pub(super) fn delete<K: Resource>(object: &mut K) {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        object.meta_mut().deletion_timestamp = Some(Time(now));
    }

    pub(super) fn plan(&self) -> Plan {
        Plan::compute(&self.observed, self.now_ms)
    }

    /// Carries out one plan, and lets Kubernetes' controllers do their part.
    pub(super) fn step(&mut self) -> Plan {
        let plan = self.plan();
        self.carry_out(&plan);
        self.run_controllers();
        plan
    }

    /// Steps until a plan changes nothing any more.
    pub(super) fn settle(&mut self) -> Plan {
        for _ in 0..50 {
            let before = self.state();
            let plan = self.step();
            if self.state() == before {
                return plan;
            }
        }
        panic!("it never settles: {:?}", self.plan());
    }

    fn state(&self) -> String {
        format!("{:?}", self.observed)
    }

    pub(super) fn carry_out(&mut self, plan: &Plan) {
        for wanted in &plan.objects {
            let key = (wanted.kind, wanted.name.clone());
            let before = self.observed.objects.get(&key).cloned();
            let mut after = wanted.body.clone();
            self.uids += 1;
            let uid = before
                .as_ref()
                .and_then(|before| before["metadata"]["uid"].as_str().map(str::to_owned))
                .unwrap_or_else(|| format!("uid-{}", self.uids));
            after["metadata"]["uid"] = json!(uid);
            if let Some(status) = before.as_ref().and_then(|before| before.get("status")) {
                after["status"] = status.clone();
            }
            self.observed.objects.insert(key, after);
        }
        for deletion in &plan.deletions {
            let key = (deletion.kind, deletion.name.clone());
            let live = self.observed.objects.get(&key).unwrap();
            assert_eq!(live["metadata"]["uid"], json!(deletion.uid));
            self.observed.objects.remove(&key);
        }
        for step in &plan.steps {
            self.take(step);
        }
        for (name, status) in &plan.clusters {
            let cluster = self.observed.clusters.iter_mut();
            if let Some(cluster) = cluster.into_iter().find(|one| one.name_any() == *name) {
                cluster.status = Some(status.clone());
            }
        }
        for (name, status) in &plan.groups {
            let mut groups = self.observed.groups.iter_mut();
            if let Some(group) = groups.find(|one| one.name_any() == *name) {
                group.status = Some(status.clone());
            }
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Finalizer {
                owner,
                name,
                finalizers,
                ..
            } => match owner {
                OwnerKind::Cluster => set_finalizers(&mut self.observed.clusters, name, finalizers),
                OwnerKind::SpuGroup => set_finalizers(&mut self.observed.groups, name, finalizers),
            },
            Step::SetDraining {
                spu,
                group,
                draining,
                ..
            } => {
                let mut spus = self.observed.spus.iter_mut();
                let spu = spus.find(|one| one.name_any() == *spu).unwrap();
                spu.spec.draining = *draining;
                spu.metadata.generation = spu.metadata.generation.map(|one| one + 1);
                if *draining {
                    let mark = (names::SCALE_IN.to_owned(), group.clone());
                    spu.annotations_mut().extend([mark]);
                } else {
                    spu.annotations_mut().remove(names::SCALE_IN);
                }
            }
            Step::DeleteSpu { spu, .. } => {
                self.observed.spus.retain(|one| one.name_any() != *spu);
            }
            Step::RestartPod { pod, .. } => {
                self.observed.pods.retain(|one| one.name_any() != *pod);
            }
            Step::ReleaseRow(row) => self.observed.held_rows.retain(|one| one != row),
            Step::GrowClaim { claim, size } => {
                let mut claims = self.observed.claims.iter_mut();
                let claim = claims.find(|one| one.name_any() == *claim).unwrap();
                *claim = claim_of(&claim.name_any(), size, size);
            }
        }
    }

    /// What the controllers of StatefulSets and Deployments do, and the SC of drains it was told.
    pub(super) fn run_controllers(&mut self) {
        let sets: Vec<_> = self.observed.objects.keys().cloned().collect();
        for (kind, name) in sets {
            match kind {
                Kind::StatefulSet => self.run_set(&name),
                Kind::Deployment => self.run_deployment(&name),
                _ => {}
            }
        }
        let objects = &self.observed.objects;
        self.observed.pods.retain(|pod| {
            let name = pod.name_any();
            let (set, index) = name.rsplit_once('-').unwrap();
            let set = objects.get(&(Kind::StatefulSet, set.to_owned()));
            let index: i64 = index.parse().unwrap();
            set.is_some_and(|set| index < set["spec"]["replicas"].as_i64().unwrap())
        });
    }

    fn run_deployment(&mut self, name: &str) {
        let key = (Kind::Deployment, name.to_owned());
        let live = self.observed.objects.get_mut(&key).unwrap();
        let replicas = live["spec"]["replicas"].clone();
        live["status"] = json!({
            "replicas": replicas,
            "updatedReplicas": replicas,
            "availableReplicas": replicas,
            "readyReplicas": replicas,
        });
    }

    fn run_set(&mut self, name: &str) {
        let key = (Kind::StatefulSet, name.to_owned());
        let template = self.observed.objects[&key]["spec"]["template"].to_string();
        let (known, number) = self.revisions.entry(name.to_owned()).or_default();
        if *known != template {
            *known = template;
            *number += 1;
        }
        let revision = format!("r{number}");
        let live = self.observed.objects.get_mut(&key).unwrap();
        live["status"] = json!({"updateRevision": revision});
        for index in 0..live["spec"]["replicas"].as_i64().unwrap() {
            let pod = format!("{name}-{index}");
            if !self.observed.pods.iter().any(|one| one.name_any() == pod) {
                let mut made = ready_pod(&revision);
                made.metadata = ObjectMeta {
                    labels: made.metadata.labels.clone(),
                    ..self.meta(&pod, 0)
                };
                self.observed.pods.push(made);
            }
            let claim = format!("data-{pod}");
            if self.observed.claim(&claim).is_none() {
                let size = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
                let size = self.observed.objects[&key].pointer(size).unwrap();
                let claim = claim_of(&claim, size.as_str().unwrap(), size.as_str().unwrap());
                self.observed.claims.push(claim);
            }
        }
    }

    /// The SC has acted on all drains it was told of.
    pub(super) fn sc_sees_drains(&mut self) {
        for spu in &mut self.observed.spus {
            let generation = spu.metadata.generation.unwrap();
            spu.status.as_mut().unwrap().observed_generation = generation;
        }
    }

    pub(super) fn pod(&mut self, name: &str) -> &mut Pod {
        let mut pods = self.observed.pods.iter_mut();
        pods.find(|one| one.name_any() == name).unwrap()
    }

    pub(super) fn set_ready(&mut self, name: &str, ready: bool) {
        let now = self.now_ms;
        let status = self.pod(name).status.as_mut().unwrap();
        let condition = &mut status.conditions.as_mut().unwrap()[0];
        condition.status = if ready { "True" } else { "False" }.to_owned();
        condition.last_transition_time = Some(Time(Timestamp::from_millisecond(now).unwrap()));
    }

    pub(super) fn spu_set_replicas(&self) -> Option<i32> {
        self.observed.spu_set_replicas("main")
    }

    pub(super) fn group_condition(&self, kind: &str) -> Condition {
        let status = self.observed.groups[0].status.as_ref().unwrap();
        let mut conditions = status.conditions.iter();
        conditions.find(|one| one.type_ == kind).unwrap().clone()
    }
}

fn set_finalizers<K: Resource>(objects: &mut Vec<K>, name: &str, finalizers: &[String]) {
    for object in objects.iter_mut().filter(|one| one.name_any() == name) {
        object.meta_mut().finalizers = Some(finalizers.to_vec());
    }
    objects.retain(|one| one.meta().deletion_timestamp.is_none() || !one.finalizers().is_empty());
}

fn ready_pod(revision: &str) -> Pod {
    let pod: Value = json!({
        "metadata": {"labels": {"controller-revision-hash": revision}},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{
                "name": "spu", "image": "", "imageID": "", "ready": true, "restartCount": 0,
                "state": {"running": {}},
            }],
        },
    });
    serde_json::from_value(pod).unwrap()
}

pub(super) fn claim_of(name: &str, requested: &str, capacity: &str) -> PersistentVolumeClaim {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {"storageClassName": "standard", "resources": {"requests": {"storage": requested}}},
        "status": {"phase": "Bound", "capacity": {"storage": capacity}},
    }))
    .unwrap()
}

/// The steps of a plan that restart a pod.
pub(super) fn restarted(plan: &Plan) -> Vec<&str> {
    let pods = plan.steps.iter().filter_map(|step| match step {
        Step::RestartPod { pod, .. } => Some(pod.as_str()),
        _ => None,
    });
    pods.collect()
}
