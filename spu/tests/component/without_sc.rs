//! The SPU serves without an SC, and finds it again.

use thalweg_proto::v1;
use thalweg_spu::View;
use thalweg_types::ErrorCode;

use crate::harness::{append, leader, name, offset, options, start, try_start, values, view_where};
use crate::scripted_sc::{INTERNAL_CLIENT_ID, Script, ScriptedSc};

#[tokio::test(flavor = "multi_thread")]
async fn while_the_sc_is_down_everything_goes_on_and_it_is_found_again() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    append(&replica, &["a"]).await.unwrap();

    let address = sc.stop().await;
    append(&replica, &["b"]).await.unwrap();
    assert_eq!(values(&replica), ["a", "b"]);

    let _sc = ScriptedSc::start_at(address, &script).await;
    script.wait_for_registrations(2).await;
    script.wait_for_heartbeats(2).await;
    append(&replica, &["c"]).await.unwrap();
    let registered = script.registered();
    assert_eq!(registered[0].incarnation, registered[1].incarnation);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_without_an_sc_serves_what_was_kept() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    append(&leader(&spu, "orders", 0).await, &["a", "b"])
        .await
        .unwrap();
    spu.stop().await;
    let address = sc.stop().await;

    let spu = start(&address.to_string(), dir.path()).await;

    let replica = leader(&spu, "orders", 0).await;
    assert_eq!(values(&replica), ["a", "b"]);
    let appended = append(&replica, &["c"]).await.unwrap();
    assert_eq!(appended.base_offset, offset(2));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_a_new_incarnation_of_the_same_directory() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;

    for life in 1..=2 {
        let spu = start(&sc.address.to_string(), dir.path()).await;
        script.wait_for_registrations(life).await;
        spu.stop().await;
    }

    let registered = script.registered();
    assert!(registered[0].cluster_id.is_empty());
    assert!(!registered[1].cluster_id.is_empty());
    assert!(registered[0].incarnation < registered[1].incarnation);
    assert_eq!(registered[0].directory_id, registered[1].directory_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn producer_ids_are_unique_across_restarts_and_there_while_the_sc_is_down() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let mut seen = std::collections::BTreeSet::new();
    let spu = start(&sc.address.to_string(), dir.path()).await;
    for _ in 0..250 {
        let (id, _) = spu.context().producer_ids.next().await.unwrap();
        assert!(seen.insert(id), "{id} came twice");
    }
    spu.stop().await;
    let address = sc.stop().await;

    let spu = start(&address.to_string(), dir.path()).await;

    for _ in 0..250 {
        let (id, _) = spu.context().producer_ids.next().await.unwrap();
        assert!(seen.insert(id), "{id} came twice");
    }
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_waits_for_the_sc() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    script.create_topic("orders", 1, &[]);
    // Takes a port that nobody listens on until the SC comes.
    let address = ScriptedSc::start(&script).await.stop().await;

    let starting = try_start(options(&address.to_string(), dir.path()));
    let sc_starting = ScriptedSc::start_at(address, &script);
    let (spu, _sc) = tokio::join!(starting, sc_starting);

    let spu = spu.unwrap();
    append(&leader(&spu, "orders", 0).await, &["a"])
        .await
        .unwrap();
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_while_serving_is_survived() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;

    let address = sc.stop().await;
    script.refuse(Some((ErrorCode::InvalidRequest, "another SPU has this id")));
    let _sc = ScriptedSc::start_at(address, &script).await;
    script.wait_for_registrations(3).await;

    append(&replica, &["a"]).await.unwrap();
    script.refuse(None);
    script.wait_for_heartbeats(1).await;
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_smartmodules_and_chains_of_topics_are_known_without_an_sc() {
    let dir = tempfile::tempdir().unwrap();
    let script = Script::new();
    let sc = ScriptedSc::start(&script).await;
    let spu = start(&sc.address.to_string(), dir.path()).await;
    script.create_topic("orders", 1, &[]);
    script.register_module("late", &"00".repeat(32));
    let step = v1::ChainStep {
        uses: "late@1.0.0".to_owned(),
        ..v1::ChainStep::default()
    };
    script.set_chain("orders", vec![step]);
    let has_chain = |view: &View| {
        let topic = view.topic(&name("orders"));
        topic.is_some_and(|topic| topic.produce_chain.steps.len() == 1)
    };
    let told = view_where(&spu, has_chain).await;
    assert_eq!(told.internal_client_id.as_deref(), Some(INTERNAL_CLIENT_ID));
    spu.stop().await;
    let address = sc.stop().await;

    let spu = start(&address.to_string(), dir.path()).await;

    let known = spu.context().view.current();
    assert!(has_chain(&known));
    assert_eq!(known.smart_modules, told.smart_modules);
    assert_eq!(known.smart_modules.len(), 1);
    // Nobody writes to internal topics before an SC says who may.
    assert_eq!(known.internal_client_id, None);
    spu.stop().await;
}
