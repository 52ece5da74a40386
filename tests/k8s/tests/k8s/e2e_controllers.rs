//! SCs over objects, with SPUs that serve: who leads, and what becomes of rows that users write.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::Value;
use thalweg_runtime::{Clock as _, SystemClock};
use thalweg_tests_cluster::LocalCluster;
use thalweg_tests_k8s::{Alone, AuditedRequest, Namespace, eventually};

use crate::stage::{is_provisioned, produce, producer, stage, thalweg, topic_manifest};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn kubectl_and_the_cli_act_on_the_same_rows() {
    let namespace = Namespace::new("same-rows").await;
    let stage = stage(&namespace, 3).await;
    let audit = namespace.audit_from_now();

    namespace.apply_yaml(&topic_manifest(
        "flights",
        "{partitions: 4, replicationFactor: 3, config: {min.insync.replicas: 2}}",
    ));
    let object = is_provisioned(&namespace, "flights").await;
    assert_eq!(object["status"]["partitions"], 4);
    assert_eq!(
        object["status"]["observedGeneration"],
        object["metadata"]["generation"]
    );
    let columns = namespace.run(&["get", "partitions"]);
    assert!(columns.contains("flights-3   Online"), "{columns}");
    let writes = audit
        .writes_of(stage.controllers.user("first"), namespace.name())
        .await;
    let of = |resource: &str| {
        let of = |write: &&AuditedRequest| write.resource.split('/').next() == Some(resource);
        writes.iter().filter(of).count()
    };
    assert!(of("topics") <= 3, "{writes:?}");
    assert!(of("partitions") <= 2 * 4, "{writes:?}");

    let described = thalweg(&stage.cluster, &["topic", "describe", "flights"]);
    assert!(described.contains("min.insync.replicas"), "{described}");
    thalweg(
        &stage.cluster,
        &["topic", "create", "My_Topic", "--partitions=2"],
    );
    let listed = namespace.run(&["get", "topics", "-o", "wide"]);
    assert!(listed.contains("My_Topic"), "{listed}");
    let spus = namespace.run(&["get", "spus"]);
    assert_eq!(spus.matches("Online").count(), 3, "{spus}");

    namespace.apply_yaml(&topic_manifest(
        "flights",
        "{partitions: 6, replicationFactor: 3}",
    ));
    eventually("six partitions", async || {
        let partitions = namespace.get(&["partitions", "--field-selector=spec.topic=flights"])?;
        (partitions["items"].as_array()?.len() == 6).then_some(())
    })
    .await;
    namespace.run(&["delete", "topic", "flights", "--timeout=60s"]);
    let left = namespace
        .get(&["partitions", "--field-selector=spec.topic=flights"])
        .unwrap();
    assert_eq!(left["items"].as_array().unwrap().len(), 0);
    let listed = thalweg(&stage.cluster, &["topic", "list"]);
    assert!(
        !listed.contains("flights") && listed.contains("My_Topic"),
        "{listed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn another_sc_leads_once_the_holder_is_killed_and_records_flow_meanwhile() {
    let namespace = Namespace::new("takeover").await;
    let stage = stage(&namespace, 1).await;
    let topic = stage.cluster.create_topic("t", 1, &[]).await;
    let producer = producer(&stage.cluster, &topic).await;

    let clock = SystemClock::new();
    let killed_at = clock.monotonic();
    stage.first.kill();
    let produced = AtomicU32::new(0);
    eventually("the second SC takes a topic", async || {
        produce(&producer, "a record").await;
        produced.fetch_add(1, Ordering::Relaxed);
        let made = stage
            .cluster
            .thalweg(&["topic", "create", "later", "--partitions=1"]);
        made.status.success().then_some(())
    })
    .await;

    println!(
        "another SC led after {:?}, {produced:?} records meanwhile",
        clock.monotonic() - killed_at
    );
    stage.controllers.leads(&namespace, "second").await;
    is_provisioned(&namespace, "later").await;
    assert!(
        !stage.second.log_text().contains("ERROR"),
        "{}",
        stage.second.log_text()
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_holder_that_is_told_to_stop_gives_the_lease_up() {
    let namespace = Namespace::new("give-up").await;
    let stage = stage(&namespace, 1).await;

    assert!(stage.first.stop().unwrap().success());
    stage.controllers.leads(&namespace, "second").await;

    stage.cluster.all_online().await;
    stage.cluster.create_topic("t", 1, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_paused_holder_that_wakes_up_is_fenced_and_stands_by() {
    let namespace = Namespace::new("paused").await;
    let mut stage = stage(&namespace, 3).await;
    let topic = stage.cluster.create_replicated_topic("t", 3, 3, &[]).await;

    stage.first.pause().unwrap();
    stage.controllers.leads(&namespace, "second").await;
    // What the paused one would have to write about, too.
    stage.cluster.take_spu(0).kill();
    eventually("the second SC has stored that SPU 0 is gone", async || {
        let spu = namespace.get(&["spu", "spu-0"])?;
        (spu["status"]["state"] == "Offline").then_some(())
    })
    .await;
    let audit = namespace.audit_from_now();
    stage.first.resume().unwrap();

    eventually("the first SC stands by", async || {
        let log = stage.first.log_text();
        log.contains("no longer leads").then_some(())
    })
    .await;
    stage.controllers.leads(&namespace, "second").await;
    // It had seen its SPUs fall silent, and a renewal may have been on its way when it was paused.
    let first = stage.controllers.user("first");
    let mut written = audit.writes_of(first, namespace.name()).await;
    written.retain(|write| write.resource != "leases" || write.code != 409);
    assert_eq!(written, []);
    // It passes on to the one that leads.
    let through = LocalCluster::around(stage.first.ready_field("admin"));
    let described = thalweg(&through, &["topic", "describe", topic.as_str()]);
    assert!(described.contains('t'), "{described}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_api_server_that_hangs_or_is_away_stops_no_record() {
    let alone = Alone::new().await;
    let namespace = alone.namespace("away");
    let stage = stage(&namespace, 1).await;
    let topic = stage.cluster.create_topic("t", 1, &[]).await;
    let producer = producer(&stage.cluster, &topic).await;

    let hanging = alone.pause("kube-apiserver");
    eventually("the SC notices", async || {
        stage
            .first
            .log_text()
            .contains("failed to renew the Lease")
            .then_some(())
    })
    .await;
    let refused = stage.cluster.thalweg(&["topic", "create", "later"]);
    assert!(!refused.status.success());
    let reason = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(reason.contains("API server"), "{reason}");
    produce(&producer, "while it hangs").await;
    drop(hanging);
    alone.restart("kube-apiserver", Duration::from_secs(5));
    produce(&producer, "while it is away").await;
    alone.api_server_is_back().await;

    eventually("a topic can be made again", async || {
        let made = stage.cluster.thalweg(&["topic", "create", "later"]);
        made.status.success().then_some(())
    })
    .await;
    is_provisioned(&namespace, "later").await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_kubectl_deletes_goes_once_nothing_hangs_on_it() {
    let namespace = Namespace::new("deletions").await;
    let mut stage = stage(&namespace, 2).await;
    let topic = stage.cluster.create_topic("t", 2, &[]).await;
    let patch = |what: &str, patch: &str| {
        namespace.run(&["patch", what, "--type=merge", "-p", patch]);
    };

    // A partition is its topic's.
    namespace.run(&["delete", "partition", "t-0", "--wait=false"]);
    namespace.run(&["delete", "spu", "spu-1", "--wait=false"]);
    let producer = producer(&stage.cluster, &topic).await;
    for number in 0..20 {
        produce(&producer, &number.to_string()).await;
    }
    assert!(namespace.get(&["partition", "t-0"]).is_some());

    // An SPU goes once it holds nothing and is down.
    patch("spu/spu-1", r#"{"spec":{"draining":true}}"#);
    eventually("SPU 1 holds nothing", async || {
        let partitions = namespace.get(&["partitions"])?;
        let holds = |row: &Value| {
            row["spec"]["replicas"]
                .as_array()
                .unwrap()
                .contains(&1.into())
        };
        let none = !partitions["items"].as_array()?.iter().any(holds);
        none.then_some(())
    })
    .await;
    assert!(namespace.get(&["spu", "spu-1"]).is_some(), "it is up");
    stage.cluster.take_spu(1).stop().unwrap();
    namespace.run(&["wait", "--for=delete", "spu/spu-1", "--timeout=60s"]);

    namespace.run(&["delete", "topic", "t", "--timeout=60s"]);
    assert!(namespace.get(&["partition", "t-0"]).is_none());
}
