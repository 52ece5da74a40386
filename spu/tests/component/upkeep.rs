//! What the SPU does to its logs without being asked.

use std::time::Duration;

use crate::harness::{
    append, damage_first_segment, leader, offset, options, try_leader, try_start, until, values,
};
use crate::scripted_sc::{Script, ScriptedSc};
use bytes::Bytes;
use thalweg_proto::v1::ReplicaState;
use thalweg_record::{BatchBuilder, BatchOptions};
use thalweg_runtime::{Clock, SystemClock};
use thalweg_spu::replica::Acks;

#[tokio::test(flavor = "multi_thread")]
async fn segments_over_the_limit_go_by_themselves() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let config = [("segment.bytes", "4096"), ("retention.bytes", "8192")];
    script.create_topic("orders", 1, &config);
    let mut options = options(&sc.address.to_string(), dir.path());
    options.retention_interval = Duration::from_millis(20);
    let spu = try_start(options).await.unwrap();
    let replica = leader(&spu, "orders", 0).await;

    let value = "x".repeat(1000);
    for _ in 0..30 {
        append(&replica, &[&value]).await.unwrap();
    }

    until("old segments are gone", || {
        (replica.log().log_start() > offset(0)).then_some(())
    })
    .await;
    assert_eq!(replica.high_watermark(), offset(30));
    spu.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_on_the_disk_is_found_reported_and_not_led_over() {
    let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
    let sc = ScriptedSc::start(&script).await;
    let topic = script.create_topic("orders", 1, &[("segment.bytes", "4096")]);
    let mut options = options(&sc.address.to_string(), dir.path());
    options.scrub_bytes_per_second = 1 << 20;
    let spu = try_start(options).await.unwrap();
    let replica = leader(&spu, "orders", 0).await;
    let value = "x".repeat(1000);
    for _ in 0..10 {
        append(&replica, &[&value]).await.unwrap();
    }

    damage_first_segment(dir.path(), topic, 500);

    let reason = script.wait_for_report(0, ReplicaState::Failed).await;
    assert!(!reason.is_empty());
    until("it stops leading", || try_leader(&spu, "orders", 0).err()).await;
    spu.stop().await;
}

/// A batch with one record for each key and value.
fn keyed(records: &[(&str, Option<&str>)]) -> Bytes {
    let now_ms = SystemClock::new().now_ms();
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for (key, value) in records {
        let value = value.map(str::as_bytes);
        builder
            .push(now_ms, Some(key.as_bytes()), value, &[])
            .unwrap();
    }
    Bytes::from(builder.build().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compacted_topic_is_compacted_by_itself_and_a_bound_of_zero_turns_it_off() {
    for is_on in [true, false] {
        let (script, dir) = (Script::new(), tempfile::tempdir().unwrap());
        let sc = ScriptedSc::start(&script).await;
        let config = [("cleanup.policy", "compact"), ("segment.bytes", "4096")];
        script.create_topic("orders", 1, &config);
        let mut options = options(&sc.address.to_string(), dir.path());
        options.compaction_interval = Duration::from_millis(20);
        if !is_on {
            options.compaction_bytes_per_second = 0;
        }
        let spu = try_start(options).await.unwrap();
        let replica = leader(&spu, "orders", 0).await;
        for at in 0..40 {
            let value = format!("{at:0>1000}");
            let batch = keyed(&[("a", Some(&value))]);
            let appended = replica.append(batch, None, Acks::All, Duration::from_secs(10));
            appended.await.unwrap();
        }

        if is_on {
            until("old records are gone", || {
                (replica.log().size_bytes() < 10_000).then_some(())
            })
            .await;
            let last = values(&replica).pop().unwrap();
            assert!(last.ends_with("39"));
        } else {
            assert!(replica.log().size_bytes() > 40_000);
        }
        assert_eq!(replica.log().log_start(), offset(0));
        assert_eq!(replica.log().log_end(), offset(40));
        spu.stop().await;
    }
}
