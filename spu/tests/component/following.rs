//! How an SPU copies from another, both of them real, each told by an SC of its own: so that one hears
//! before the other who leads.

use std::sync::Arc;
use std::time::Duration;

use thalweg_spu::Spu;
use thalweg_spu::replica::Replica;
use thalweg_types::SpuId;
use tokio::time::Instant;

use crate::harness::{append, leader, options, start, try_leader, try_start, until};
use crate::scripted_sc::{SPU, Script, ScriptedSc};

/// The SPU that follows.
const OTHER: i32 = SPU + 1;
/// Long for an SPU that asks at once, and short for one that names everything again now and then.
const SOON: Duration = Duration::from_secs(1);

/// How long it takes until a record is on both.
async fn committed_after(replica: &Arc<Replica>) -> Duration {
    let begun = Instant::now();
    append(replica, &["a"]).await.unwrap();
    begun.elapsed()
}

/// Has the SPU that leads hear of it after the one that follows it.
async fn lead_after_refusals(spu: &Spu, leaders: &Script, followers: &Script) -> Arc<Replica> {
    for script in [leaders, followers] {
        script.elect("orders", 0, None);
    }
    until("it leads no more", || {
        try_leader(spu, "orders", 0).is_err().then_some(())
    })
    .await;
    followers.elect("orders", 0, Some(SPU));
    // Meanwhile the follower asks and is refused: it has a record of the other partition by then, which
    // the same requests bring.
    let other = leader(spu, "orders", 1).await;
    for _ in 0..10 {
        committed_after(&other).await;
    }
    leaders.elect("orders", 0, Some(SPU));
    leader(spu, "orders", 0).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_refused_at_first_is_asked_again_as_soon_as_it_may_be() {
    let (leaders, dirs) = (
        Script::new(),
        [(); 2].map(|()| tempfile::tempdir().unwrap()),
    );
    leaders.create_topic("orders", 2, &[]);
    for partition in 0..2 {
        leaders.set_replicas("orders", partition, &[SPU, OTHER], &[SPU, OTHER]);
    }
    let followers = leaders.copy();
    let scs = [
        ScriptedSc::start(&leaders).await,
        ScriptedSc::start(&followers).await,
    ];
    let spu = start(&scs[0].address.to_string(), dirs[0].path()).await;
    let mut options = options(&scs[1].address.to_string(), dirs[1].path());
    options.id = SpuId(OTHER);
    let follower = try_start(options).await.unwrap();
    followers.announce_spu(spu.data_address());
    committed_after(&leader(&spu, "orders", 1).await).await;

    // A busy machine may hold one of them up.
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let replica = lead_after_refusals(&spu, &leaders, &followers).await;
        fastest = fastest.min(committed_after(&replica).await);
    }

    assert!(fastest < SOON, "{fastest:?}");
    follower.stop().await;
    for partition in 0..2 {
        // Else it would wait for the other one to lead in its place.
        leaders.set_replicas("orders", partition, &[SPU], &[SPU]);
    }
    spu.stop().await;
}
