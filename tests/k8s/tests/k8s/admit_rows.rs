//! What the API server takes and refuses of the SC's rows, with what the user is told.

use serde_json::{Value, json};
use thalweg_tests_k8s::Namespace;

const TOPIC_ID: &str = "11111111-1111-4111-8111-111111111111";

fn object(kind: &str, name: &str, spec: Value) -> String {
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
fn are_refused(namespace: &Namespace, cases: Vec<(String, &str)>) {
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

fn transform(change: impl Fn(&mut Value)) -> String {
    let mut spec = json!({
        "inputs": ["flights", "trains"],
        "outputs": ["late"],
        "transforms": [{"uses": "late@1.2.0", "with": {"minutes": "60"}, "onError": "skip"}],
    });
    change(&mut spec);
    object("Transform", "late-flights", spec)
}

/// A transform of one input that ends in this aggregate.
fn summing(aggregate: &Value) -> String {
    transform(|spec| {
        spec["inputs"] = json!(["flights"]);
        spec["transforms"] = json!([{"uses": "sum", "aggregate": aggregate}]);
    })
}

fn state_that_can_not_be_kept_is_refused(namespace: &Namespace) {
    let window = |window: &str| summing(&json!({"window": window}));
    let dedup = |bounds: Value| {
        transform(move |spec| {
            spec["inputs"] = json!(["flights"]);
            spec["dedup"] = bounds.clone();
        })
    };
    let two = json!([
        {"uses": "sum", "aggregate": {}},
        {"uses": "count", "aggregate": {"byKey": true}},
    ]);
    are_refused(
        namespace,
        vec![
            (
                transform(|spec| spec["transforms"] = json!([{"uses": "sum", "aggregate": {}}])),
                "has one input",
            ),
            (
                transform(|spec| spec["dedup"] = json!({"last": 5})),
                "has one input",
            ),
            (
                transform(|spec| {
                    spec["inputs"] = json!(["flights"]);
                    spec["transforms"] = two.clone();
                }),
                "a chain keeps one aggregate",
            ),
            (window("sliding:5m"), "`hopping:<size>:<advance>`"),
            (window("tumbling:0m"), "`hopping:<size>:<advance>`"),
            (window("tumbling:7d"), "`hopping:<size>:<advance>`"),
            (window("session:900000h"), "at most a hundred years"),
            (window("hopping:1m:2m"), "advance is at most its size"),
            (window("hopping:1001ms:1ms"), "at least a thousandth"),
            (summing(&json!({"lateness": "5s"})), "are for windows"),
            (summing(&json!({"late": "fail"})), "are for windows"),
            (
                summing(&json!({"window": "session:5m", "lateness": "soon"})),
                "lateness is a duration",
            ),
            (
                summing(&json!({"window": "session:5m", "late": "keep"})),
                "late is `drop` or `fail`",
            ),
            (dedup(json!({})), "dedup needs last or ageMs"),
            (dedup(json!({"last": 0})), "at least 1 record"),
            (dedup(json!({"last": 10_000_001})), "at most 10000000"),
            (dedup(json!({"ageMs": 0})), "at least 1 record and 1 ms"),
        ],
    );
    for window in ["tumbling:168h", "hopping:1s:1ms", "session:250ms"] {
        let aggregate = json!({"byKey": true, "window": window, "lateness": "5m", "late": "fail"});
        namespace.apply_yaml(&summing(&aggregate));
        namespace.run(&["delete", "transform", "late-flights"]);
    }
    namespace.apply_yaml(&dedup(json!({"last": 5, "ageMs": 1000})));
    namespace.apply_yaml(&dedup(json!({"last": 7})));
    let without = transform(|spec| spec["inputs"] = json!(["flights"]));
    are_refused(namespace, vec![(without, "dedup can't be given")]);
    namespace.run(&["delete", "transform", "late-flights"]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Kubernetes: `cargo xtask k8s`"]
async fn what_can_be_no_transform_is_refused_with_the_next_step() {
    let namespace = Namespace::new("transforms").await;
    namespace.establish_resources();
    let with =
        |field: &'static str, value: Value| transform(move |spec| spec[field] = value.clone());
    let step = |value: Value| with("transforms", json!([value]));

    are_refused(
        &namespace,
        vec![
            (with("inputs", json!([])), "spec.inputs"),
            (with("outputs", json!([])), "spec.outputs"),
            (with("transforms", json!([])), "spec.transforms"),
            (
                with("inputs", json!(vec!["t"; 65])),
                "must have at most 64 items",
            ),
            (
                with("inputs", json!(["a", "a"])),
                "inputs has a topic twice",
            ),
            (
                with("outputs", json!(["a", "a"])),
                "outputs has a topic twice",
            ),
            (
                with("outputs", json!(["flights"])),
                "an output can't be an input",
            ),
            (
                with("tables", json!(["a", "a"])),
                "tables has a topic twice",
            ),
            (
                with("tables", json!(["a", "flights"])),
                "a table can't be an input or an output",
            ),
            (
                with("tables", json!(vec!["t"; 17])),
                "must have at most 16 items",
            ),
            (with("begin", json!("end")), "unknown field \"spec.begin\""),
            (
                with("start", json!("latest")),
                "start is `beginning`, `end`",
            ),
            (
                with("partitioning", json!("random")),
                "partitioning is `key` or `preserve`",
            ),
            (with("compression", json!("rar")), "`lz4` or `zstd`"),
            (
                step(json!({"uses": "Late"})),
                "`name@1.2.0` for one version",
            ),
            (
                step(json!({"uses": "late", "onError": "retry"})),
                "`stop`, `skip` or `dead_letter:",
            ),
            (
                step(json!({"uses": "late", "lookBack": {"last": 1}})),
                "leave lookBack out",
            ),
        ],
    );
    state_that_can_not_be_kept_is_refused(&namespace);

    namespace.apply_yaml(&transform(|_| {}));
    are_refused(
        &namespace,
        vec![
            (
                with("inputs", json!(["flights"])),
                "inputs can't be changed",
            ),
            (
                with("outputs", json!(["other"])),
                "outputs can't be changed",
            ),
        ],
    );
    namespace.apply_yaml(&with("start", json!("offset:7")));
    namespace.apply_yaml(&with("tables", json!(["airlines", "airports"])));
    namespace.apply_yaml(&with("paused", json!(true)));
    let columns = namespace.run(&["get", "transforms"]);
    assert!(
        columns.contains("INPUT     OUTPUT   STATE   READY"),
        "{columns}"
    );
}
