//! What the API server takes and refuses of the SC's rows but transforms, with what the user is told.

use serde_json::{Value, json};
use thalweg_tests_k8s::Namespace;

const TOPIC_ID: &str = "11111111-1111-4111-8111-111111111111";

pub(crate) fn object(kind: &str, name: &str, spec: Value) -> String {
    json!({
        "apiVersion": "thalweg.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    })
    .to_string()
}

fn topic(name: &str, spec: Value) -> String {
    object("Topic", name, spec)
}

/// Checks that each of `cases` is refused with words of its own.
pub(crate) fn are_refused(namespace: &Namespace, cases: Vec<(String, &str)>) {
    for (manifest, words) in cases {
        let told = namespace.refused_yaml(&manifest);
        assert!(told.contains(words), "`{words}` is not in: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_can_be_no_topic_is_refused_with_the_next_step() {
    let namespace = Namespace::new("topics").await;
    namespace.establish_resources();
    let setting = |name: &str, value: Value| topic("t", json!({"config": {name: value}}));
    let step = |step: Value| topic("t", json!({"produceChain": [step]}));

    are_refused(
        &namespace,
        vec![
            (
                topic("t", json!({"partitions": 0})),
                "greater than or equal to 1",
            ),
            (
                topic("t", json!({"partitions": 10_001})),
                "less than or equal to 10000",
            ),
            (
                topic("t", json!({"partitons": 3})),
                "unknown field \"spec.partitons\"",
            ),
            (
                topic("t", json!({"partitions": 1, "assignments": [[0]]})),
                "give either assignments, or partitions and replicationFactor",
            ),
            (topic("t", json!({"topicName": "t", "id": "7"})), "spec.id"),
            (
                topic("t", json!({"topicName": "a b"})),
                "letters, digits, `.`, `_` and `-`",
            ),
            (
                topic("t", json!({"topicName": "flights"})),
                "give the object the topic's name",
            ),
            (
                setting("retention", json!(1)),
                "unknown field \"spec.config.retention\"",
            ),
            (
                setting("retention.ms", json!("7d")),
                "a whole number, without a unit",
            ),
            (
                setting("retention.ms", json!(-2)),
                "retention.ms must be -1 to",
            ),
            (
                setting("segment.bytes", json!("17")),
                "segment.bytes must be 4096 to 2147483647",
            ),
            (
                setting("cleanup.policy", json!("keep")),
                "supported values: \"delete\"",
            ),
            (
                setting("min.cleanable.dirty.ratio", json!("1.5")),
                "min.cleanable.dirty.ratio",
            ),
            (
                setting("min.insync.replicas", json!(2)),
                "more than the topic has replicas",
            ),
            (
                step(json!({"uses": "Late"})),
                "`name@1.2.0` for one version",
            ),
            (
                step(json!({"uses": "late", "onError": "retry"})),
                "`stop`, `skip` or `dead_letter:",
            ),
            (
                step(json!({"uses": "late", "lookBack": {"last": -1}})),
                "greater than or equal to 0",
            ),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_a_topic_can_not_become_is_refused_and_its_id_stays_when_it_is_applied_again() {
    let namespace = Namespace::new("changes").await;
    namespace.establish_resources();
    let own = json!({"partitions": 3, "replicationFactor": 1});
    namespace.apply_yaml(&topic("t", own.clone()));
    let id = json!({"spec": {"id": TOPIC_ID}}).to_string();
    namespace.run(&["patch", "topic", "t", "--type=merge", "-p", &id]);

    are_refused(
        &namespace,
        vec![
            (
                topic("t", json!({"partitions": 2})),
                "partitions can't be taken away",
            ),
            (
                topic("t", json!({"partitions": 3, "replicationFactor": 2})),
                "`thalweg partition move`",
            ),
            (
                topic("t", json!({"partitions": 3, "topicName": "T"})),
                "topicName can't be changed",
            ),
        ],
    );
    let none = json!({"spec": {"id": null}}).to_string();
    let told = namespace.attempt(&["patch", "topic", "t", "--type=merge", "-p", &none], "");
    assert!(told.unwrap_err().contains("id names the topic's data"));

    namespace.apply_yaml(&topic(
        "t",
        json!({"partitions": 4, "replicationFactor": 1}),
    ));
    let kept = namespace.get(&["topic", "t"]).unwrap();
    assert_eq!(kept["spec"]["id"], TOPIC_ID);
    assert_eq!(kept["spec"]["partitions"], 4);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn every_value_that_a_setting_may_have_is_taken() {
    let namespace = Namespace::new("settings").await;
    namespace.establish_resources();

    for (name, values) in [
        (
            "cleanup.policy",
            vec![json!("compact"), json!("compact,delete")],
        ),
        (
            "retention.ms",
            vec![json!(-1), json!("-1"), json!(i64::MAX.to_string())],
        ),
        ("retention.bytes", vec![json!(0), json!("1073741824")]),
        ("max.compaction.lag.ms", vec![json!("9223372036854775807")]),
        (
            "min.cleanable.dirty.ratio",
            vec![json!("0"), json!("0.25"), json!("1")],
        ),
        ("unclean.leader.election.enable", vec![json!("true")]),
        ("durability", vec![json!("memory")]),
    ] {
        for value in values {
            namespace.apply_yaml(&topic("t", json!({"config": {name: value}})));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn two_managers_apply_settings_of_their_own_and_conflict_on_the_same() {
    let namespace = Namespace::new("managers").await;
    namespace.establish_resources();
    let apply = |manager: &str, spec: Value| {
        let manager = format!("--field-manager={manager}");
        let arguments = ["apply", "--server-side", &manager, "-f", "-"];
        namespace.attempt(&arguments, &topic("t", spec))
    };

    apply("one", json!({"config": {"retention.ms": 1000}})).unwrap();
    apply("other", json!({"config": {"segment.bytes": 4096}})).unwrap();
    let both = namespace.get(&["topic", "t"]).unwrap();
    assert_eq!(
        both["spec"]["config"].as_object().unwrap().len(),
        2,
        "{both}"
    );

    let told = apply("other", json!({"config": {"retention.ms": 2000}})).unwrap_err();
    assert!(told.contains("conflict with \"one\""), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn a_partition_keeps_its_identity_its_status_and_its_epochs() {
    let namespace = Namespace::new("partitions").await;
    namespace.establish_resources();
    let spec = json!({"topic": "t", "topicId": TOPIC_ID, "partition": 0, "replicas": [0]});
    namespace.apply_yaml(&object("Partition", "t-0", spec));
    let status = |epoch: i32| {
        let status = json!({
            "state": "Online", "leader": 0, "leaderEpoch": epoch, "isr": [0], "partitionEpoch": epoch,
        });
        let patch = json!({ "status": status }).to_string();
        let arguments = [
            "patch",
            "partition",
            "t-0",
            "--subresource=status",
            "--type=merge",
            "-p",
            &patch,
        ];
        namespace.attempt(&arguments, "")
    };
    status(5).unwrap();

    assert!(status(4).unwrap_err().contains("epochs only grow"));
    let gone = r#"[{"op":"remove","path":"/status"}]"#;
    let arguments = [
        "patch",
        "partition",
        "t-0",
        "--subresource=status",
        "--type=json",
        "-p",
        gone,
    ];
    let told = namespace.attempt(&arguments, "").unwrap_err();
    assert!(told.contains("can't be removed"), "{told}");
    let other = json!({"spec": {"partition": 1}}).to_string();
    let told = namespace.attempt(
        &["patch", "partition", "t-0", "--type=merge", "-p", &other],
        "",
    );
    assert!(told.unwrap_err().contains("number can't be changed"));
    let columns = namespace.run(&["get", "partitions"]);
    assert!(
        columns.contains("STATE    LEADER   REPLICAS   IN-SYNC"),
        "{columns}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn an_spu_and_a_module_are_held_to_their_rules() {
    let namespace = Namespace::new("others").await;
    namespace.establish_resources();
    let from = |spec: Value| object("SmartModule", "late", spec);
    let source = json!({"configMap": {"name": "modules", "key": "late.wasm"}});
    let oci = |reference: &str| {
        let source = json!({"oci": {"reference": reference}});
        from(json!({"version": "1.0.0", "source": source}))
    };
    for reference in [
        "example.com/acme/late:1.0.0".to_owned(),
        "127.0.0.1:5000/late:1.0.0-rc.1".to_owned(),
        format!("example.com:5000/a/b/c@sha256:{}", "0f".repeat(32)),
    ] {
        namespace.apply_yaml(&oci(&reference));
    }

    are_refused(
        &namespace,
        vec![
            (object("Spu", "spu-1", json!({"id": 2})), "called spu-<id>"),
            (object("Spu", "other", json!({"id": 2})), "called spu-<id>"),
            (
                from(json!({"version": "1.0"})),
                "three numbers, for example 1.2.0",
            ),
            (from(json!({"source": source})), "give the version"),
            (
                from(json!({"version": "1.0.0", "source": {}})),
                "give one of configMap and oci",
            ),
            (oci("late:1.0.0"), "registry/repository:tag"),
            (oci("example.com/acme/late"), "registry/repository:tag"),
            (
                oci("example.com/acme/late@sha256:12"),
                "registry/repository:tag",
            ),
        ],
    );
    let short = namespace.run(&[
        "api-resources",
        "--api-group=thalweg.dev",
        "--categories=thalweg",
    ]);
    for name in ["tp", "part", "sm", "spus", "tf"] {
        assert!(short.contains(name), "{short}");
    }
}
