//! A damaged copy goes on the SC's word alone.

use std::path::Path;
use std::sync::Arc;

use thalweg_proto::v1::ReplicaState;
use thalweg_spu::Spu;
use thalweg_storage::{Log, LogHealth};
use thalweg_types::TopicId;

use crate::harness::{
    append, damage_first_segment, leader, offset, options, start, try_start, until,
};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// The other SPU, which leads and never answers.
const OTHER: i32 = SPU + 1;
const RECORDS: i64 = 10;

/// Has the SPU find that its copy is damaged, which it led until then.
async fn damaged(script: &Script, sc: &ScriptedSc, data_dir: &Path) -> (Spu, TopicId) {
    let topic = script.create_topic("orders", 1, &[("segment.bytes", "4096")]);
    let mut options = options(&sc.address.to_string(), data_dir);
    options.scrub_bytes_per_second = 1 << 20;
    let spu = try_start(options).await.unwrap();
    let replica = leader(&spu, "orders", 0).await;
    let value = "x".repeat(1000);
    for _ in 0..RECORDS {
        append(&replica, &[&value]).await.unwrap();
    }
    damage_first_segment(data_dir, topic, 500);
    script.wait_for_report(0, ReplicaState::Failed).await;
    (spu, topic)
}

fn log(spu: &Spu) -> Option<Arc<Log>> {
    let mut logs = spu.context().replicas.logs().into_iter();
    logs.next().map(|(_id, log)| log)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_stays_until_the_sc_lets_that_very_copy_go() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let (spu, topic) = damaged(&script, &sc, dir.path()).await;

    script.set_replicas("orders", 0, &[SPU, OTHER], &[OTHER]);
    script.elect("orders", 0, Some(OTHER));
    let failed = script.wait_for_report_of(0, 2, ReplicaState::Failed).await;
    script.let_refill(topic, 0, failed.copy + 1);
    // Under the next epoch it says so again, so it has heard that and stayed.
    script.elect("orders", 0, Some(OTHER));
    script.wait_for_report_of(0, 3, ReplicaState::Failed).await;
    let kept = log(&spu).unwrap();
    assert_eq!(kept.log_end(), offset(RECORDS));
    assert!(matches!(kept.health(), LogHealth::Quarantined { .. }));

    script.let_refill(topic, 0, failed.copy);

    let anew = script.wait_for_report_of(0, 3, ReplicaState::Serving).await;
    assert!(anew.copy > failed.copy);
    let refilled = until("it is open", || log(&spu)).await;
    assert_eq!(refilled.log_end(), offset(0));
    assert_eq!(refilled.health(), LogHealth::Ok);
    spu.stop().await;

    // Nothing of the damaged one is found again.
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let reopened = until("it is open", || log(&spu)).await;
    assert_eq!(reopened.log_end(), offset(0));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_copy_stays_while_nobody_leads() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let (spu, topic) = damaged(&script, &sc, dir.path()).await;
    script.set_replicas("orders", 0, &[SPU, OTHER], &[OTHER]);

    script.elect("orders", 0, None);
    let failed = script.wait_for_report_of(0, 2, ReplicaState::Failed).await;
    script.let_refill(topic, 0, failed.copy);
    script.elect("orders", 0, None);
    script.wait_for_report_of(0, 3, ReplicaState::Failed).await;
    assert_eq!(log(&spu).unwrap().log_end(), offset(RECORDS));

    script.elect("orders", 0, Some(OTHER));
    script.wait_for_report_of(0, 4, ReplicaState::Serving).await;
    spu.stop().await;
}
