//! What a leader makes of its followers, who are played by the test.

use std::sync::Arc;

use thalweg_spu::replica::{FollowerPosition, ProduceError, Replica};
use thalweg_types::{CopyLife, CopyNumber, Incarnation, Offset, SpuId};

use crate::harness::{append, leader, start, until, values};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// The other SPU.
const OTHER: i32 = SPU + 1;

fn fetched(replica: &Replica, spu: i32, stable_end: i64) -> bool {
    let position = FollowerPosition {
        life: CopyLife {
            process: Incarnation(1),
            copy: CopyNumber(1),
        },
        stable_end: Offset(stable_end),
    };
    replica.follower_fetched(SpuId(spu), position)
}

async fn in_sync(replica: &Arc<Replica>, script: &Script, isr: &[i32]) {
    let before = replica.min_isr_met();
    script.set_replicas("orders", 0, &[SPU, OTHER], isr);
    until("the leader has heard", || {
        (replica.min_isr_met() != before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_committed_once_every_in_sync_replica_has_it() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[("min.insync.replicas", "2")]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    in_sync(&replica, &script, &[SPU, OTHER]).await;

    let mut appending = std::pin::pin!(append(&replica, &["a"]));
    assert!(futures::poll!(&mut appending).is_pending());
    until("the leader has written it", || {
        (replica.log().stable_end() == Offset(1)).then_some(())
    })
    .await;
    assert_eq!(replica.high_watermark(), Offset(0));
    assert!(values(&replica).is_empty(), "nobody may see it yet");
    assert!(!fetched(&replica, 77, 1), "a stranger does not count");
    assert_eq!(replica.high_watermark(), Offset(0));

    assert!(fetched(&replica, OTHER, 1));
    assert_eq!(appending.await.unwrap().base_offset, Offset(0));
    assert_eq!(values(&replica), ["a"]);
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_while_too_many_replicas_leave_is_told_so() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[("min.insync.replicas", "2")]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let replica = leader(&spu, "orders", 0).await;
    in_sync(&replica, &script, &[SPU, OTHER]).await;
    let mut appending = std::pin::pin!(append(&replica, &["a"]));
    assert!(futures::poll!(&mut appending).is_pending());
    until("the leader has written it", || {
        (replica.log().stable_end() == Offset(1)).then_some(())
    })
    .await;

    in_sync(&replica, &script, &[SPU]).await;

    let error = appending.await.unwrap_err();
    assert!(
        matches!(error, ProduceError::NotEnoughReplicasAfterAppend { .. }),
        "{error}"
    );
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_leader_says_where_its_log_ends_once_its_followers_have_spoken() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    script.create_topic("orders", 1, &[("min.insync.replicas", "2")]);
    let spu = start(&sc.address.to_string(), dir.path()).await;
    let former = leader(&spu, "orders", 0).await;
    in_sync(&former, &script, &[SPU, OTHER]).await;
    let mut appending = std::pin::pin!(append(&former, &["a"]));
    assert!(futures::poll!(&mut appending).is_pending());
    until("the leader has written it", || {
        (former.log().stable_end() == Offset(1)).then_some(())
    })
    .await;
    script.elect("orders", 0, Some(SPU));
    assert!(appending.await.is_err(), "its reign is over");

    let replica = leader(&spu, "orders", 0).await;
    assert_eq!(replica.known_high_watermark(), None);
    assert!(fetched(&replica, OTHER, 1));
    assert_eq!(replica.known_high_watermark(), Some(Offset(1)));
    spu.stop().await;
}
