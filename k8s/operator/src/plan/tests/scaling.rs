//! A group grows and shrinks, and so do its disks.

use super::super::Step;
use super::world::{World, claim_of};
use crate::names;
use crate::objects::Kind;

fn drains(steps: &[Step]) -> Vec<(&str, bool)> {
    let drains = steps.iter().filter_map(|step| match step {
        Step::SetDraining { spu, draining, .. } => Some((spu.as_str(), *draining)),
        _ => None,
    });
    drains.collect()
}

#[test]
fn a_group_grows_at_once() {
    let mut world = World::settled(3);
    world.group().spec.replicas = 5;

    world.step();

    assert_eq!(world.spu_set_replicas(), Some(5));
    world.settle();
    let status = world.group().status.clone().unwrap();
    assert_eq!(status.spus.as_deref(), Some("5/5"));
}

#[test]
fn scale_in_waits_until_the_removed_spus_hold_no_partitions() {
    let mut world = World::settled(5);
    world.add_partition(0, &[0, 1, 4]);
    world.group().spec.replicas = 3;

    let plan = world.step();
    assert_eq!(drains(&plan.steps), [("spu-3", true), ("spu-4", true)]);
    assert!(plan.is_careful(&world.observed));

    // Nothing counts until the SC has acted on it.
    world.settle();
    assert_eq!(world.spu_set_replicas(), Some(5));
    world.sc_sees_drains();
    world.settle();
    assert_eq!(world.spu_set_replicas(), Some(5), "SPU 4 holds orders-0");
    let waiting = world.group_condition("Progressing");
    assert_eq!(waiting.reason, "Draining");
    assert!(waiting.message.contains("orders-0"), "{}", waiting.message);

    world.partition(0).spec.replicas = vec![0, 1, 2];
    world.settle();
    assert_eq!(
        world.spu_set_replicas(),
        Some(5),
        "it is in sync there still"
    );
    world.partition(0).status.as_mut().unwrap().isr = vec![0, 1, 2];
    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(3));
    let left: Vec<_> = world.observed.spus.iter().map(|spu| spu.spec.id).collect();
    assert_eq!(left, [0, 1, 2]);
    assert_eq!(world.group_condition("Progressing").reason, "Settled");
}

#[test]
fn a_group_shrinks_as_far_as_its_end_holds_nothing() {
    let mut world = World::settled(5);
    world.add_partition(0, &[0, 1, 3]);
    world.group().spec.replicas = 2;
    world.step();
    world.sc_sees_drains();

    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(4), "SPU 3 holds orders-0");
}

#[test]
fn an_spu_with_the_only_copy_is_never_removed() {
    let mut world = World::settled(2);
    world.add_partition(0, &[1]);
    world.group().spec.replicas = 1;
    world.step();
    world.sc_sees_drains();

    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(2));
}

#[test]
fn a_set_that_somebody_else_shrinks_gets_back_the_spus_that_hold_something() {
    let mut world = World::settled(4);
    world.add_partition(0, &[0, 1, 3]);
    world.group().spec.replicas = 2;
    world.step();
    world.sc_sees_drains();
    let set = (Kind::StatefulSet, "main-spu".to_owned());
    let set = world.observed.objects.get_mut(&set).unwrap();
    set["spec"]["replicas"] = serde_json::json!(2);
    world.run_controllers();

    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(4));
}

#[test]
fn who_grows_again_ends_the_drains_that_were_the_operators_own() {
    let mut world = World::settled(4);
    world.add_partition(0, &[0, 2, 3]);
    world.observed.spus[0].spec.draining = true;
    world.group().spec.replicas = 2;
    world.settle();
    world.group().spec.replicas = 4;

    let plan = world.step();

    assert_eq!(drains(&plan.steps), [("spu-2", false), ("spu-3", false)]);
    world.settle();
    let draining: Vec<_> = world
        .observed
        .spus
        .iter()
        .map(|spu| spu.spec.draining)
        .collect();
    assert_eq!(draining, [true, false, false, false]);
}

#[test]
fn an_spu_that_never_registered_is_not_waited_for() {
    let mut world = World::settled(2);
    world.group().spec.replicas = 3;
    world.settle();
    world.group().spec.replicas = 2;

    world.settle();

    assert_eq!(world.spu_set_replicas(), Some(2));
}

#[test]
fn a_row_is_removed_only_when_its_pod_is_gone() {
    let mut world = World::settled(2);
    world.group().spec.replicas = 1;
    world.step();
    world.sc_sees_drains();
    let plan = world.plan();
    world.carry_out(&plan);

    let is_row = |step: &Step| matches!(step, Step::DeleteSpu { .. });
    assert!(!world.plan().steps.iter().any(is_row), "the pod is ending");
    world.run_controllers();
    let plan = world.plan();

    assert!(plan.steps.iter().any(is_row));
    assert!(plan.is_careful(&world.observed));
}

#[test]
fn disks_grow_where_their_class_allows_that() {
    let mut world = World::settled(2);
    world.group().spec.storage.size = "20Gi".into();

    let plan = world.step();

    let grown = plan
        .steps
        .iter()
        .filter(|step| matches!(step, Step::GrowClaim { size, .. } if size == "20Gi"));
    assert_eq!(grown.count(), 2);
    world.settle();
    assert_eq!(world.group_condition("ClaimsSized").status, "True");

    // A claim that is made later begins with the template's size, which can't change.
    world.group().spec.replicas = 3;
    world.settle();
    let claim = world.observed.claim(&names::spu_claim("main", 2)).unwrap();
    let requests = claim
        .spec
        .clone()
        .unwrap()
        .resources
        .unwrap()
        .requests
        .unwrap();
    assert_eq!(requests["storage"].0, "20Gi");
}

#[test]
fn disks_that_cannot_grow_are_said() {
    let mut world = World::settled(1);
    world
        .observed
        .storage_classes
        .insert("standard".to_owned(), false);
    world.group().spec.storage.size = "20Gi".into();

    let plan = world.step();

    assert_eq!(plan.steps, []);
    let said = world.group_condition("ClaimsSized");
    assert_eq!(said.reason, "CannotExpand");
    assert!(said.message.contains("allowVolumeExpansion"));
    assert!(plan.events.iter().any(|event| event.is_warning));
}

#[test]
fn a_disk_that_grows_is_waited_for_and_a_lost_one_is_said() {
    let mut world = World::settled(1);
    world.group().spec.storage.size = "20Gi".into();
    world.observed.claims[0] = claim_of("data-main-spu-0", "20Gi", "10Gi");
    world.step();
    assert_eq!(world.group_condition("ClaimsSized").reason, "Growing");

    let status = world.observed.claims[0].status.as_mut().unwrap();
    status.phase = Some("Lost".to_owned());
    world.step();

    let said = world.group_condition("ClaimsSized");
    assert_eq!(said.reason, "VolumeLost");
    assert!(said.message.contains("data-main-spu-0"));
}
