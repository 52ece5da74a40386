//! Clusters and groups go in order, whatever is in the middle.

use super::super::Step;
use super::world::World;
use crate::names;
use crate::objects::Kind;
use crate::observed::{HeldRow, RowKind};

fn is_release(step: &Step) -> bool {
    matches!(step, Step::Finalizer { finalizers, .. } if finalizers.is_empty())
}

#[test]
fn a_cluster_goes_once_its_spus_have_ended_and_leaves_disks_and_rows() {
    let mut world = World::settled(2);
    world.add_partition(0, &[0, 1]);
    World::delete(world.cluster());

    let plan = world.plan();
    assert!(!plan.steps.iter().any(is_release), "SPUs are there");
    world.carry_out(&plan);
    assert!(
        !world.plan().steps.iter().any(is_release),
        "pods are ending"
    );
    world.run_controllers();
    world.settle();

    assert!(world.observed.clusters.is_empty());
    assert_eq!(world.observed.claims.len(), 2);
    assert_eq!(world.observed.spus.len(), 2);
    assert_eq!(world.group_condition("Accepted").reason, "NoCluster");

    // Made again, it finds what it had.
    world.add_cluster("main", 100);
    world.settle();
    assert_eq!(world.spu_set_replicas(), Some(2));
    assert_eq!(world.group_condition("Ready").status, "True");
}

#[test]
fn claims_that_go_with_their_group_stay_when_only_the_cluster_goes() {
    let mut world = World::new(1);
    world.group().spec.storage.when_deleted = thalweg_k8s_crd::ClaimPolicy::Delete;
    world.settle();
    let owner = serde_json::json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "main-spu", "uid": "u"}]);
    world.observed.claims[0].metadata.owner_references = serde_json::from_value(owner).unwrap();
    World::delete(world.cluster());

    let plan = world.step();
    assert_eq!(plan.deletions, [], "the claims would go with it");
    assert!(
        world.step().deletions.is_empty(),
        "they are the set's still"
    );
    world.observed.claims[0].metadata.owner_references = None;
    world.settle();

    assert!(world.observed.clusters.is_empty());
    assert_eq!(world.observed.claims.len(), 1);
}

#[test]
fn a_group_that_is_deleted_is_drained_before_its_pods_end() {
    let mut world = World::settled(3);
    world.add_partition(0, &[0, 1, 2]);
    World::delete(world.group());

    world.settle();
    world.sc_sees_drains();
    world.settle();
    assert_eq!(world.spu_set_replicas(), Some(3), "they hold orders-0");
    assert_eq!(world.group_condition("Progressing").reason, "Draining");

    world.partition(0).spec.replicas = vec![10];
    world.partition(0).status.as_mut().unwrap().isr = vec![10];
    world.settle();

    assert!(world.observed.groups.is_empty());
    assert!(world.observed.pods.is_empty());
    assert!(world.observed.spus.is_empty());
    assert_eq!(world.observed.claims.len(), 3);
}

#[test]
fn a_group_that_goes_with_its_cluster_is_not_drained() {
    let mut world = World::settled(2);
    world.add_partition(0, &[0, 1]);
    World::delete(world.group());
    World::delete(world.cluster());

    world.settle();

    assert!(world.observed.groups.is_empty());
    assert!(world.observed.clusters.is_empty());
    assert_eq!(world.observed.spus.len(), 2, "rows belong to the data");
}

#[test]
fn deletion_in_the_middle_of_anything_ends() {
    let starts: [fn(&mut World); 5] = [
        |_| {},
        |world| world.group().spec.replicas = 5,
        |world| world.group().spec.replicas = 1,
        |world| world.cluster().spec.image = Some("thalweg:2".to_owned()),
        |world| world.group().spec.storage.size = "20Gi".into(),
    ];
    for (number, start) in starts.into_iter().enumerate() {
        for steps in 0..4 {
            let mut world = World::settled(3);
            world.add_partition(0, &[0, 1, 2]);
            start(&mut world);
            for _ in 0..steps {
                world.step();
            }

            World::delete(world.cluster());
            world.settle();

            let at = format!("start {number}, after {steps} steps");
            assert!(world.observed.clusters.is_empty(), "{at}");
            assert!(world.observed.spu_set("main").is_none(), "{at}");
            assert!(world.observed.claims.len() >= 3, "{at}");
        }
    }
}

#[test]
fn a_group_that_was_refused_goes_at_once() {
    let mut world = World::settled(2);
    world.add_group("late", thalweg_k8s_crd::SpuGroupSpec::of(1), 50);
    world.settle();
    let late = &mut world.observed.groups[1];
    late.metadata.finalizers = Some(vec![names::FINALIZER.to_owned()]);
    World::delete(late);

    world.settle();

    assert_eq!(world.observed.groups.len(), 1);
    assert_eq!(world.spu_set_replicas(), Some(2));
}

#[test]
fn a_set_of_the_same_name_that_is_another_is_not_deleted() {
    let mut world = World::settled(1);
    World::delete(world.cluster());
    let plan = world.plan();

    let deletion = &plan.deletions[0];

    let key = (Kind::StatefulSet, deletion.name.clone());
    assert_eq!(
        world.observed.objects[&key]["metadata"]["uid"],
        serde_json::json!(deletion.uid)
    );
}

#[test]
fn with_its_namespace_everything_goes_at_once_and_with_the_cluster_alone_rows_wait_for_an_sc() {
    let mut world = World::settled(2);
    world.add_partition(0, &[0, 1]);
    world.observed.held_rows = vec![HeldRow {
        kind: RowKind::Topic,
        name: "orders".to_owned(),
        version: "7".to_owned(),
        others: vec!["example.com/backup".to_owned()],
    }];
    World::delete(world.cluster());
    World::delete(world.group());
    let lets_rows_go =
        |step: &Step| matches!(step, Step::ReleaseRow(row) if row.others == ["example.com/backup"]);
    assert!(!world.plan().steps.iter().any(lets_rows_go));

    world.observed.is_terminating = true;
    let plan = world.step();

    assert!(plan.steps.iter().any(lets_rows_go));
    assert_eq!(
        plan.objects,
        [],
        "nothing can be made in a namespace that goes"
    );
    assert!(world.observed.clusters.is_empty() && world.observed.groups.is_empty());
    assert!(world.observed.held_rows.is_empty());
}
