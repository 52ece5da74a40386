//! What is taken up and what is refused: installation, a second cluster, numbers that are taken, an
//! object that the API server refused, a pause.

use thalweg_k8s_crd::{Address, AddressType, SpuGroupSpec};

use super::super::{OwnerKind, Plan};
use super::world::World;
use crate::objects::Kind;

fn names_of(plan: &Plan, kind: Kind) -> Vec<&str> {
    let objects = plan.objects.iter().filter(|one| one.kind == kind);
    objects.map(|one| one.name.as_str()).collect()
}

#[test]
fn a_cluster_and_a_group_become_what_the_rfc_lists() {
    let mut world = World::new(2);

    let plan = world.step();

    assert_eq!(names_of(&plan, Kind::Deployment), ["main-sc"]);
    assert_eq!(names_of(&plan, Kind::StatefulSet), ["main-spu"]);
    assert_eq!(
        names_of(&plan, Kind::Service),
        ["main-sc", "main-spu", "main-spu-0", "main-spu-1"]
    );
    assert_eq!(
        names_of(&plan, Kind::ConfigMap),
        ["main-racks", "main-spu-addresses"]
    );
    assert_eq!(
        names_of(&plan, Kind::PodDisruptionBudget),
        ["main-sc", "main-spu"]
    );
    assert_eq!(
        names_of(&plan, Kind::NetworkPolicy),
        ["main-sc", "main-spus"]
    );
    assert_eq!(names_of(&plan, Kind::ServiceMonitor), [""; 0]);
    assert_eq!(world.group_condition("Progressing").reason, "Installing");

    world.settle();
    assert_eq!(world.group_condition("Ready").status, "True");
    assert_eq!(world.group_condition("Progressing").reason, "Settled");
    let status = world.cluster().status.clone().unwrap();
    assert_eq!(status.state.as_deref(), Some("Ready"));
    assert_eq!(status.scs.as_deref(), Some("2/2"));
    assert_eq!(status.spus.as_deref(), Some("2/2"));
    assert_eq!(status.version.as_deref(), Some("1"));
    let plan = world.plan();
    assert_eq!((plan.events, plan.look_again), (vec![], None));
}

#[test]
fn a_plan_is_the_same_for_the_same() {
    let world = World::settled(3);

    assert_eq!(world.plan(), world.plan());
}

#[test]
fn the_older_of_two_clusters_is_in_force() {
    let mut world = World::new(1);
    world.add_cluster("another", 50);

    let plan = world.step();

    assert_eq!(names_of(&plan, Kind::Deployment), ["main-sc"]);
    let refused = world.observed.clusters[1].status.clone().unwrap();
    assert_eq!(refused.state.as_deref(), Some("NamespaceTaken"));
    assert!(refused.conditions[0].message.contains("main"));
    let told = |event: &super::super::Event| event.name == "another" && event.is_warning;
    assert!(plan.events.iter().any(told));
}

#[test]
fn a_group_waits_for_its_cluster() {
    let mut world = World::empty();
    world.add_group("main", SpuGroupSpec::of(1), 0);

    let plan = world.step();

    assert_eq!(plan.objects, []);
    assert_eq!(world.group_condition("Accepted").reason, "NoCluster");
}

#[test]
fn numbers_that_another_group_has_are_refused() {
    let mut world = World::settled(3);
    let spec = SpuGroupSpec {
        min_id: 2,
        ..SpuGroupSpec::of(2)
    };
    world.add_group("late", spec, 50);

    let plan = world.step();

    assert_eq!(names_of(&plan, Kind::StatefulSet), ["main-spu"]);
    let status = world.observed.groups[1].status.clone().unwrap();
    assert_eq!(status.conditions[0].reason, "IdsTaken");
    assert!(status.conditions[0].message.contains("0 to 2"));
}

#[test]
fn a_group_does_not_grow_into_what_a_younger_one_holds() {
    let mut world = World::settled(2);
    let spec = SpuGroupSpec {
        min_id: 2,
        ..SpuGroupSpec::of(2)
    };
    world.add_group("late", spec, 50);
    world.settle();

    world.group().spec.replicas = 4;
    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(2));
    assert_eq!(world.observed.spu_set_replicas("late"), Some(2));
    assert_eq!(world.group_condition("Accepted").reason, "IdsTaken");
}

#[test]
fn a_paused_cluster_is_left_alone() {
    let mut world = World::settled(2);
    world.cluster().spec.paused = true;
    world.group().spec.replicas = 3;

    let plan = world.step();

    assert_eq!((plan.objects, plan.steps), (vec![], vec![]));
    assert_eq!(plan.deletions, []);
    assert_eq!(world.group_condition("Progressing").reason, "Paused");
}

#[test]
fn what_was_turned_off_is_deleted() {
    let mut world = World::settled(1);
    world.cluster().spec.network_policy.enabled = false;

    let plan = world.step();

    let deleted: Vec<_> = plan.deletions.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(deleted, ["main-sc", "main-spus"]);
    assert!(plan.is_careful(&world.observed));
    assert!(world.settle().deletions.is_empty());
}

#[test]
fn a_load_balancer_without_address_is_waited_for() {
    let mut world = World::new(1);
    world.group().spec.address = Address {
        address_type: AddressType::LoadBalancer,
        ..Address::default()
    };
    world.settle();
    let waiting = world.group_condition("Progressing");
    assert_eq!(waiting.reason, "AddressPending");
    assert!(waiting.message.contains("main-spu-0"));

    let service = (Kind::Service, "main-spu-0".to_owned());
    let service = world.observed.objects.get_mut(&service).unwrap();
    service["status"] = serde_json::json!({"loadBalancer": {"ingress": [{"ip": "10.0.0.9"}]}});
    world.settle();

    let addresses = (Kind::ConfigMap, "main-spu-addresses".to_owned());
    let addresses = &world.observed.objects[&addresses];
    assert_eq!(addresses["data"]["main-spu-0"], "10.0.0.9:9092");
    assert_eq!(world.group_condition("Progressing").reason, "Settled");
}

#[test]
fn what_the_api_server_refused_is_said_to_the_owner_once() {
    let mut world = World::new(1);
    let mut plan = world.plan();
    let refused = plan
        .objects
        .iter()
        .find(|one| one.kind == Kind::StatefulSet)
        .cloned()
        .unwrap();

    plan.note_failure(&world.observed, &refused, "failed to apply StatefulSet: no");
    plan.objects.retain(|one| one.kind != Kind::StatefulSet);
    world.carry_out(&plan);

    let said = world.group_condition("Progressing");
    assert_eq!(
        (said.status.as_str(), said.reason.as_str()),
        ("False", "ApplyFailed")
    );
    let events = plan
        .events
        .iter()
        .filter(|one| one.owner == OwnerKind::SpuGroup);
    assert_eq!(events.count(), 1);
    let mut again = world.plan();
    again.note_failure(&world.observed, &refused, "failed to apply StatefulSet: no");
    let events = again
        .events
        .iter()
        .filter(|one| one.owner == OwnerKind::SpuGroup);
    assert_eq!(events.count(), 0);
}
