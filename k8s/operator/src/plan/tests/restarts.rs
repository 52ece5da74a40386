//! A change of what pods run reaches them one at a time, and never harms.

use thalweg_k8s_crd::UpdateStrategy;

use super::super::pods::READY_WITHIN_MS;
use super::world::{World, restarted};
use crate::objects::Kind;

/// Settled, with a partition on all three, and another image wanted and applied.
fn upgrading() -> World {
    let mut world = World::settled(3);
    world.add_partition(0, &[0, 1, 2]);
    world.cluster().spec.image = Some("thalweg:2".to_owned());
    let plan = world.plan();
    assert_eq!(restarted(&plan), [""; 0], "controllers come first");
    world.step();
    world
}

#[test]
fn pods_are_restarted_one_at_a_time_from_the_last() {
    let mut world = upgrading();

    for pod in ["main-spu-2", "main-spu-1", "main-spu-0"] {
        let plan = world.plan();
        assert_eq!(restarted(&plan), [pod]);
        assert!(plan.is_careful(&world.observed));
        world.carry_out(&plan);
        assert_eq!(restarted(&world.plan()), [""; 0], "it is not there yet");
        world.run_controllers();

        world.set_ready(pod, false);
        assert_eq!(restarted(&world.plan()), [""; 0], "it is not ready yet");
        world.set_ready(pod, true);
    }

    world.settle();
    let status = world.group().status.clone().unwrap();
    assert_eq!(status.version.as_deref(), Some("2"));
    assert_eq!(world.group_condition("Progressing").reason, "Settled");
}

#[test]
fn no_pod_is_restarted_while_a_partition_lacks_a_replica() {
    let mut world = upgrading();
    world.partition(0).status.as_mut().unwrap().isr = vec![0, 1];

    let plan = world.step();

    assert_eq!(restarted(&plan), [""; 0]);
    let waiting = world.group_condition("Progressing");
    assert_eq!(waiting.reason, "WaitingForSync");
    assert!(waiting.message.contains("orders-0"));
    assert!(plan.look_again.is_some());
}

#[test]
fn a_pod_that_never_gets_ready_halts_the_upgrade_and_is_said() {
    let mut world = upgrading();
    world.step();
    world.set_ready("main-spu-2", false);
    world.step();
    assert_eq!(world.group_condition("Progressing").reason, "WaitingForPod");

    world.now_ms += READY_WITHIN_MS + 1;
    let plan = world.step();

    assert_eq!(restarted(&plan), [""; 0]);
    let stuck = world.group_condition("Progressing");
    assert_eq!(
        (stuck.status.as_str(), stuck.reason.as_str()),
        ("False", "PodNotReady")
    );
    assert!(stuck.message.contains("kubectl logs main-spu-2"));
    assert!(plan.events.iter().any(|event| event.is_warning));
}

#[test]
fn a_broken_pod_is_replaced_first_once_the_spec_is_mended() {
    let mut world = upgrading();
    world.step();
    world.set_ready("main-spu-2", false);
    let status = world.pod("main-spu-2").status.as_mut().unwrap();
    let container = &mut status.container_statuses.as_mut().unwrap()[0];
    container.state = None;
    world.partition(0).status.as_mut().unwrap().isr = vec![0, 1];
    assert_eq!(
        restarted(&world.plan()),
        [""; 0],
        "it is as wanted, and broken"
    );

    world.cluster().spec.image = Some("thalweg:3".to_owned());
    world.step();

    assert_eq!(restarted(&world.plan()), ["main-spu-2"]);
}

#[test]
fn a_broken_pod_is_not_replaced_while_another_spu_lacks_something() {
    let mut world = upgrading();
    world.set_ready("main-spu-2", false);
    world.now_ms += READY_WITHIN_MS + 1;
    world.partition(0).status.as_mut().unwrap().isr = vec![0];

    assert_eq!(restarted(&world.plan()), [""; 0]);
}

#[test]
fn pods_whose_node_died_hold_the_upgrade() {
    let mut world = upgrading();
    let pod = world.pod("main-spu-0");
    World::delete(pod);

    let plan = world.step();

    assert_eq!(restarted(&plan), [""; 0]);
    assert!(
        world
            .group_condition("Progressing")
            .message
            .contains("main-spu-0")
    );
}

#[test]
fn on_delete_leaves_pods_to_others() {
    let mut world = upgrading();
    world.group().spec.update_strategy = UpdateStrategy::OnDelete;

    let plan = world.step();

    assert_eq!(restarted(&plan), [""; 0]);
    assert_eq!(
        world.group_condition("Progressing").reason,
        "WaitingForDeletion"
    );
}

#[test]
fn a_setting_that_changes_restarts_pods() {
    let mut world = World::settled(1);
    world.group().spec.settings.idle_timeout = Some("5m".into());
    world.step();

    assert_eq!(restarted(&world.plan()), ["main-spu-0"]);
}

#[test]
fn the_last_outdated_pod_is_waited_for_while_it_ends() {
    let mut world = upgrading();
    for pod in ["main-spu-2", "main-spu-1"] {
        world.step();
        world.run_controllers();
        world.set_ready(pod, true);
    }
    let mut pods = world.observed.pods.iter_mut();
    let last = pods.find(|pod| pod.metadata.name.as_deref() == Some("main-spu-0"));
    World::delete(last.unwrap());

    world.step();

    let progressing = world.group_condition("Progressing");
    assert_eq!(progressing.reason, "WaitingForPod");
    assert_eq!(progressing.status, "True");
    assert!(
        progressing.message.contains("it is ending"),
        "{}",
        progressing.message
    );
}

#[test]
fn nobody_is_told_that_a_change_is_done_before_it_has_begun() {
    let mut world = World::settled(1);
    world.group().spec.settings.idle_timeout = Some("5m".into());
    world.cluster().spec.sc.replicas = 3;

    let plan = world.plan();

    let (_, group) = &plan.groups[0];
    let (_, cluster) = &plan.clusters[0];
    for conditions in [&group.conditions, &cluster.conditions] {
        let progressing = conditions.iter().find(|one| one.type_ == "Progressing");
        let progressing = progressing.unwrap();
        assert_eq!(
            (progressing.status.as_str(), progressing.reason.as_str()),
            ("True", "Applying")
        );
    }
    assert_eq!(group.updated_replicas, Some(0));
}

#[test]
fn two_groups_are_not_restarted_at_once() {
    let mut world = upgrading();
    let spec = thalweg_k8s_crd::SpuGroupSpec {
        min_id: 10,
        ..thalweg_k8s_crd::SpuGroupSpec::of(2)
    };
    world.add_group("other", spec, 60);
    world.step();
    world.cluster().spec.image = Some("thalweg:3".to_owned());
    world.step();

    assert_eq!(restarted(&world.plan()).len(), 1);
}

#[test]
fn a_template_that_is_not_seen_yet_restarts_nothing() {
    let mut world = upgrading();
    let key = (Kind::StatefulSet, "main-spu".to_owned());
    let set = world.observed.objects.get_mut(&key).unwrap();
    set["metadata"]["generation"] = serde_json::json!(3);
    set["status"]["observedGeneration"] = serde_json::json!(2);

    assert_eq!(restarted(&world.plan()), [""; 0]);
}
